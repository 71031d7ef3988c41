/** What a lamp shows. `level` 0-255 for triones (its strongest channel), percent for elk-bledom. */
export interface Shown {
  readonly power: boolean;
  readonly level: number;
  readonly rgb: readonly number[];
}

/** The lamp behind the radio: what its bytes do to it, from public descriptions of the protocols, not from our encoders. */
export class Bulb {
  readonly family: 'triones' | 'elk-bledom';
  power = false;
  rgb: readonly number[] = [255, 255, 255];
  white = 0;
  effect = 0;
  percent = 100;
  /** Every value that reached it, and when. */
  readonly heard: { readonly at: number; readonly hex: string }[] = [];

  constructor(family: Bulb['family']) {
    this.family = family;
  }

  /** Takes a value; returns what it notifies in answer. */
  take(bytes: Uint8Array, at: number): Uint8Array | undefined {
    this.heard.push({ at, hex: Buffer.from(bytes).toString('hex') });
    return this.family === 'triones' ? this.#takeTriones(bytes) : this.#takeElk(bytes);
  }

  get shown(): Shown {
    const level = this.family === 'triones' ? Math.max(...this.rgb, this.white) : this.percent;
    return { power: this.power, level, rgb: this.rgb };
  }

  /** madhead/saberlight: `CC 23/24 33` power, `56 R G B W F0/0F AA` colour or white, `EF 01 77` asks. */
  #takeTriones(bytes: Uint8Array): Uint8Array | undefined {
    const [head, second = 0, third = 0, fourth = 0, fifth = 0, sixth] = bytes;
    if (head === 0xcc) this.power = second === 0x23;
    if (head === 0x56 && sixth === 0xf0) [this.rgb, this.white] = [[second, third, fourth], 0];
    if (head === 0x56 && sixth === 0x0f) [this.rgb, this.white] = [[0, 0, 0], fifth];
    if (head === 0xbb) this.effect = second;
    if (head !== 0xef) return undefined;
    const mode = this.effect === 0 ? 0x41 : this.effect;
    return Uint8Array.of(0x66, 0x15, this.power ? 0x23 : 0x24, mode, 0x20, 0, ...this.rgb, this.white, 6, 0x99);
  }

  /** arduino12/ble_rgb_led_strip_controller: `7E .. 04` power, `.. 01 P` percent, `.. 05 03 R G B` colour. */
  #takeElk(bytes: Uint8Array): undefined {
    const [head, , what, value = 0, ...rest] = bytes;
    if (head !== 0x7e) return;
    if (what === 0x04) this.power = value !== 0;
    if (what === 0x01) this.percent = value;
    if (what === 0x05 && value === 0x03) this.rgb = rest.slice(0, 3);
  }
}
