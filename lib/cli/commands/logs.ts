import type { LogLine } from '../api/resources.js';
import { CliError } from '../cli-error.js';
import { formatLogTime } from '../quantities.js';
import type { Session } from '../session.js';

/** Prints the last lines of an app's log; without `isRecent`, those to come until Ctrl-C. */
export async function logs(session: Session, name: string, isRecent: boolean): Promise<void> {
  const { client, terminal } = session;
  const { guid } = await client.getApp(name);
  if (isRecent) {
    for (const line of await client.recentLogs(guid)) session.line(formatLogLine(line));
    return;
  }
  const tellOpen = () => terminal.error(`Lines of ${name}, until Ctrl-C:\n`);
  try {
    for await (const line of client.followLogs(guid, tellOpen)) session.line(formatLogLine(line));
  } catch (error) {
    // Of a user who has seen enough, and of a connection that was cut, the library says the same.
    terminal.signal.throwIfAborted();
    if (error instanceof CliError) throw error;
    throw new CliError(`the log broke off: ${(error as Error).message}`, { cause: error });
  }
  throw new CliError('the log ended, with the Cloud Controller');
}

/** `2015-06-30T13:52:36.45+0000 [App/0]      OUT text`, as cf prints it; control characters that end a line are cut. */
export function formatLogLine({ timestamp, type, source_type, source_instance, message }: LogLine): string {
  const source = `[${source_type}/${source_instance}]`.padEnd(12);
  return `${formatLogTime(new Date(timestamp))} ${source} ${type} ${message.replace(/[\r\n]+$/, '')}`;
}
