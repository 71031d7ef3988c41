/** BlueZ's names (its doc/org.bluez.Adapter.rst, .Device.rst, .GattService.rst, .GattCharacteristic.rst). */
export const BLUEZ = 'org.bluez';
export const ADAPTER = 'org.bluez.Adapter1';
export const DEVICE = 'org.bluez.Device1';
export const SERVICE = 'org.bluez.GattService1';
export const CHARACTERISTIC = 'org.bluez.GattCharacteristic1';

export const PROPERTIES = 'org.freedesktop.DBus.Properties';
export const OBJECT_MANAGER = 'org.freedesktop.DBus.ObjectManager';
export const INTROSPECTABLE = 'org.freedesktop.DBus.Introspectable';

/** The bus itself, as a peer. */
export const DAEMON = 'org.freedesktop.DBus';
export const DAEMON_PATH = '/org/freedesktop/DBus';

export const adapterPath = (adapter: string): string => `/org/bluez/${adapter}`;

/** Where a device lies: below its adapter, by its address. */
export const devicePath = (adapter: string, address: string): string =>
  `${adapterPath(adapter)}/dev_${address.toUpperCase().replaceAll(':', '_')}`;

const DEVICE_PATH = /^\/org\/bluez\/(hci\d+)\/dev_([0-9A-F]{2}(?:_[0-9A-F]{2}){5})$/;

/** The address of a device of that adapter, or undefined where the path is another object's. */
export function addressAt(adapter: string, path: string): string | undefined {
  const [, of, address] = DEVICE_PATH.exec(path) ?? [];
  return of === adapter ? address?.toLowerCase().replaceAll('_', ':') : undefined;
}
