import { randomBytes } from 'node:crypto';
import { BbsClient } from '../../../../bbs/client/bbs-client.js';
import type { CallName, RequestOf, ResponseOf } from '../../../../bbs/routes.js';
import type { Terminal } from '../../../session.js';
import { type Connection, readConnection } from './connection.js';
import { GivenFlags } from './flags.js';
import { Output } from './output.js';
import type { SessionFlags } from './session-flags.js';
import { BadArguments, failureOf } from './word-failure.js';

/** A word's view of the world: the terminal and one BBS. */
export interface BbsSession {
  terminal: Terminal;
  connection: Connection;
  client: BbsClient;
  output: Output;
  /** Of everything that the word asks. */
  requestId: string;
  /** Asks the BBS one thing, once. */
  call<Name extends CallName>(name: Name, request?: Partial<RequestOf<Name>>): Promise<ResponseOf<Name>>;
}

/**
 * Runs a word with a client of its own, and stops that.
 *
 * @throws BadArguments; WordFailure for everything else, also for what the word throws
 */
export async function withBbs(
  terminal: Terminal,
  flags: SessionFlags,
  word: (session: BbsSession) => Promise<void>,
): Promise<void> {
  const given = new GivenFlags(flags, terminal.environment, terminal.directory ?? process.cwd());
  const connection = await readConnection(given);
  const client = createClient(connection);
  const requestId = randomBytes(16).toString('hex');
  const { signal } = terminal;
  const output = Output.of(terminal, flags);
  try {
    const call: BbsSession['call'] = (name, request) => client.call(name, request, { requestId, signal });
    await word({ terminal, connection, client, output, requestId, call });
  } catch (error) {
    throw error instanceof BadArguments ? error : failureOf(error);
  } finally {
    client.stop();
  }
}

function createClient({ url, tls, timeoutMs }: Connection): BbsClient {
  try {
    return BbsClient.create({ url, timeoutMs, attempts: 1, ...(tls && { tls }) });
  } catch (cause) {
    throw new BadArguments((cause as Error).message, { cause });
  }
}
