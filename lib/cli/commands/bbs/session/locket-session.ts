import { randomBytes } from 'node:crypto';
import { LocketClient } from '../../../../locks/client/locket-client.js';
import type { CallOptions } from '../../../../locks/lock-store.js';
import { abortable } from '../../../../process/abortable.js';
import type { Terminal } from '../../../session.js';
import { GivenFlags } from './flags.js';
import { Output } from './output.js';
import type { SessionFlags } from './session-flags.js';
import { BadArguments, exitStatus, WordFailure } from './word-failure.js';

/** A word's view of the world: the terminal and one Locket. */
export interface LocketSession {
  locks: LocketClient;
  output: Output;
  /** Of everything that the word asks. */
  call: CallOptions;
}

/**
 * Runs a word with a client of its own, and stops that.
 *
 * @throws BadArguments; WordFailure for everything else, also for what the word throws
 */
export async function withLocket(
  terminal: Terminal,
  flags: SessionFlags,
  word: (session: LocketSession) => Promise<void>,
): Promise<void> {
  const given = new GivenFlags(flags, terminal.environment, terminal.directory ?? process.cwd());
  const locks = await createClient(given);
  try {
    const { timeoutMs } = given;
    const call = { requestId: randomBytes(16).toString('hex'), ...(timeoutMs > 0 && { timeoutMs }) };
    await abortable(word({ locks, output: Output.of(terminal, flags), call }), terminal.signal);
  } catch (error) {
    throw new WordFailure((error as Error).message, exitStatus.refused, { cause: error });
  } finally {
    await locks.stop();
  }
}

async function createClient(given: GivenFlags): Promise<LocketClient> {
  const address = given.require('locketAPILocation', 'no Locket is named');
  if (!/^(\[[\da-f:.]+\]|[^:/\s]+):\d{1,5}$/i.test(address)) {
    throw new BadArguments(`--locketAPILocation: ${JSON.stringify(address)} is no host:port`);
  }
  if (given.skipsCertVerify)
    throw new BadArguments('--skipCertVerify: the certificate of a Locket is always looked at');
  const purpose = 'a Locket needs certificates';
  const identity = {
    ca: await given.readFile('caCertFile', purpose),
    cert: await given.readFile('clientCertFile', purpose),
    key: await given.readFile('clientKeyFile', purpose),
  };
  try {
    return new LocketClient({ address, identity });
  } catch (cause) {
    throw new BadArguments(`the certificates or the key cannot be used: ${(cause as Error).message}`, { cause });
  }
}
