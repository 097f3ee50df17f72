import { connect } from 'node:net';

/** One who reads a job's output as the logging agent beside a DEA does. */
export interface JobReader {
  /** The four bytes that come first. */
  readonly position: number;
  /** What came after them. */
  readonly text: string;
  readonly hasEnded: boolean;
  close(): void;
}

/** Connects to `<container path>/jobs/<job>/stdout.sock`. @throws when nobody serves it */
export function readJobSocket(path: string): Promise<JobReader> {
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    let hasEnded = false;
    const socket = connect(path);
    socket.once('error', reject);
    socket.on('data', (piece: Buffer) => {
      bytes = Buffer.concat([bytes, piece]);
    });
    socket.once('end', () => {
      hasEnded = true;
    });
    socket.once('connect', () =>
      resolve({
        get position() {
          return bytes.readUInt32BE(0);
        },
        get text() {
          return bytes.subarray(4).toString();
        },
        get hasEnded() {
          return hasEnded;
        },
        close: () => socket.destroy(),
      }),
    );
  });
}
