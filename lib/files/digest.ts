import { Worker } from 'node:worker_threads';

/**
 * Runs in a thread of its own and so, being text, needs no file that a build would have to put somewhere.
 * A regular file is read in pieces of 1 MiB.
 */
const workerSource = `
  const { createHash } = require('node:crypto');
  const { closeSync, openSync, readSync } = require('node:fs');
  const { parentPort, workerData } = require('node:worker_threads');
  const hash = createHash(workerData.algorithm);
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  const file = openSync(workerData.path, 'r');
  try {
    for (let bytes; (bytes = readSync(file, buffer)) > 0; ) hash.update(buffer.subarray(0, bytes));
  } finally {
    closeSync(file);
  }
  parentPort.postMessage(hash.digest('hex'));
`;

/**
 * Digest of a file's content, lower-case hexadecimal, computed in a worker thread so that large files do not hold up
 * the event loop.
 * @throws the file system's error when the file cannot be read
 */
export function fileDigest(path: string, algorithm: 'sha1' | 'md5' | 'sha256'): Promise<string> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(workerSource, { eval: true, execArgv: [], env: {}, workerData: { path, algorithm } });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`digest of ${path}: thread ended with ${code}`)));
  });
}
