import { CliError } from '../cli-error.js';
import { routedRequest } from '../routed-request.js';
import type { Session } from '../session.js';

/** Prints a file of an instance, or the listing of a directory. */
export async function files(session: Session, name: string, path: string, index: number): Promise<void> {
  const { client, router, terminal } = session;
  const { guid } = await client.getApp(name);
  const url = new URL(await client.fileUrl(guid, index, path));
  let response: Awaited<ReturnType<typeof routedRequest>>;
  try {
    response = await routedRequest({ url, router, signal: terminal.signal });
  } catch (error) {
    terminal.signal.throwIfAborted();
    throw new CliError(`the directory server ${url.host} does not answer: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const chunks: Buffer[] = [];
  for await (const chunk of response) {
    if (response.statusCode === 200) terminal.out(chunk as Buffer);
    else chunks.push(chunk as Buffer);
  }
  if (response.statusCode === 200) return;
  throw new CliError(
    `${path || '/'}: ${errorText(Buffer.concat(chunks).toString()) || `status ${response.statusCode}`}`,
  );
}

/** The directory server tells errors as JSON or as a line of text. */
function errorText(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: unknown };
    return typeof error === 'string' ? error : '';
  } catch {
    return body.trim();
  }
}
