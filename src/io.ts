/** What a verb may touch of the process; `main.ts` makes it, tests make their own. */
export interface Io {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Standard output is a terminal that shows colours and blocks (and NO_COLOR is not set). */
  readonly colours: boolean;
  readonly isTerminal: boolean;
  /** Columns and rows of the terminal that standard output is, asked anew each time; absent: it is none. */
  readonly size?: () => { readonly columns: number; readonly rows: number };
  /** Standard error is a terminal, so a person reads the log. */
  readonly logsToTerminal: boolean;
  readonly pid: number;
  /** Who runs this: the owner that the state directory must have. */
  readonly uid: number;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

/** What the verbs need that is no business of a terminal: where the program's other processes are, its version, the network. */
export interface Program {
  readonly version: string;
  readonly entries: { readonly radio: URL; readonly air: URL };
  readonly fetch: typeof fetch;
  /** Calls back on SIGHUP; returns how to stop listening. */
  readonly onHangup: (listener: () => void) => () => void;
}
