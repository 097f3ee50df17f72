import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { BadArguments } from './word-failure.js';

/** The flags of all words, as cfdot calls them (docs/protocol/bbs.md §20). */
export interface ConnectionFlags {
  bbsURL?: string;
  locketAPILocation?: string;
  caCertFile?: string;
  clientCertFile?: string;
  clientKeyFile?: string;
  skipCertVerify?: boolean;
  /** Seconds. */
  timeout?: string;
}

/** Flags that have a value, and the variables in their place. */
const variables = {
  bbsURL: 'BBS_URL',
  locketAPILocation: 'LOCKET_API_LOCATION',
  caCertFile: 'CA_CERT_FILE',
  clientCertFile: 'CLIENT_CERT_FILE',
  clientKeyFile: 'CLIENT_KEY_FILE',
  timeout: 'CFDOT_TIMEOUT',
} as const;

/** What flags say, and the environment where they do not. Every method throws BadArguments that names the flag. */
export class GivenFlags {
  /** @param directory paths are relative to it */
  constructor(
    private readonly flags: ConnectionFlags,
    private readonly environment: NodeJS.ProcessEnv,
    private readonly directory: string,
  ) {}

  /** @param purpose begins the error's text, such as `no BBS is named` */
  require(flag: keyof typeof variables, purpose: string): string {
    const value = this.#value(flag);
    if (value === undefined) throw new BadArguments(`${purpose}; give --${flag} or $${variables[flag]}`);
    return value;
  }

  /** The bytes of the file that a flag names. */
  async readFile(flag: 'caCertFile' | 'clientCertFile' | 'clientKeyFile', purpose: string): Promise<Buffer> {
    const path = this.require(flag, purpose);
    try {
      return await readFile(resolve(this.directory, path));
    } catch (cause) {
      throw new BadArguments(`--${flag}: ${(cause as Error).message}`, { cause });
    }
  }

  /** The variable takes what Go's `strconv.ParseBool` does. */
  get skipsCertVerify(): boolean {
    const { SKIP_CERT_VERIFY: text = '' } = this.environment;
    if (this.flags.skipCertVerify !== undefined) return this.flags.skipCertVerify;
    if (/^(|0|f|F|FALSE|false|False)$/.test(text)) return false;
    if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
    throw new BadArguments(`$SKIP_CERT_VERIFY: ${JSON.stringify(text)} is neither true nor false`);
  }

  /** Of a request; 0: none. */
  get timeoutMs(): number {
    const value = this.#value('timeout') ?? '0';
    if (/^\d{1,6}$/.test(value)) return Number(value) * 1000;
    const given = `--timeout or $${variables.timeout}`;
    throw new BadArguments(`${given}: ${JSON.stringify(value)} is no whole number of seconds`);
  }

  /** An empty one is none. */
  #value(flag: keyof typeof variables): string | undefined {
    return this.flags[flag] || this.environment[variables[flag]] || undefined;
  }
}
