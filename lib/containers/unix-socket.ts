import { once } from 'node:events';
import { chmod, chown, lstat, stat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';

/** A UNIX socket to listen on. */
export interface SocketPlace {
  path: string;
  /** Permission bits. */
  mode: number;
  /** Number of the group that it belongs to. @default that of this process */
  group?: number | undefined;
}

/**
 * Makes a server listen on a UNIX socket; one that nobody listens on any more is replaced.
 *
 * @throws when another process listens there, something else has that name, or there is no directory for it
 */
export async function listenOnSocket(server: Server, { path, mode, group }: SocketPlace): Promise<void> {
  await removeStaleSocket(path);
  const directory = await stat(dirname(path)).catch(() => undefined);
  // What the system says of it sounds as if somebody lacked a permission.
  if (!directory?.isDirectory()) throw new Error(`${path}: there is no directory ${dirname(path)}`);
  server.listen(path);
  await once(server, 'listening');
  // First to whom it belongs: until then its group may not use it.
  if (group !== undefined) await chown(path, process.getuid?.() ?? 0, group);
  await chmod(path, mode);
}

async function removeStaleSocket(path: string): Promise<void> {
  const status = await lstat(path).catch(() => undefined);
  if (!status) return;
  if (!status.isSocket()) throw new Error(`${path} exists and is no socket`);
  if (await isAnswered(path)) throw new Error(`${path}: another server listens there`);
  await unlink(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(error);
    });
  });
}
