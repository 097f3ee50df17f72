import { once } from 'node:events';
import { chmod, lstat, stat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';

/**
 * Makes a server listen on a UNIX socket; one that nobody listens on any more is replaced.
 *
 * @param mode permission bits of the socket
 * @throws when another process listens there, something else has that name, or there is no directory for it
 */
export async function listenOnSocket(server: Server, path: string, mode: number): Promise<void> {
  await removeStaleSocket(path);
  const directory = await stat(dirname(path)).catch(() => undefined);
  // What the system says of it sounds as if somebody lacked a permission.
  if (!directory?.isDirectory()) throw new Error(`${path}: there is no directory ${dirname(path)}`);
  server.listen(path);
  await once(server, 'listening');
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
