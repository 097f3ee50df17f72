import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { decodeEnvelope, decodeResponse, encodeResponse } from '../../lib/containers/warden/protocol/codec.js';
import { encodeFrame, FrameParser } from '../../lib/containers/warden/protocol/framing.js';

/** A Warden server that shows its containers' directories as upstream's does. */
export interface OldWarden {
  readonly socket: string;
  stop(): Promise<void>;
}

/**
 * Stands before our own server, and says of each container a directory whose root file system is at `tmp/rootfs`
 * (docs/protocol/dea.md §11.1), beside the real directory of its jobs.
 */
export async function startOldWarden(behind: string): Promise<OldWarden> {
  const directory = mkdtempSync(join(tmpdir(), 'old-warden-'));
  const shown = new Map<string, string>();
  const show = (real: string): string => {
    const known = shown.get(real);
    if (known !== undefined) return known;
    const path = join(directory, basename(real).slice(0, 12));
    mkdirSync(join(path, 'tmp'), { recursive: true });
    symlinkSync(join(real, 'rootfs'), join(path, 'tmp', 'rootfs'));
    symlinkSync(join(real, 'jobs'), join(path, 'jobs'));
    shown.set(real, path);
    return path;
  };
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(behind);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
    }
    client.pipe(upstream);
    const parser = new FrameParser(64 * 1024 * 1024);
    upstream.on('data', (piece: Buffer) => {
      for (const payload of parser.push(piece)) client.write(encodeFrame(rewritten(payload, show)));
    });
  });
  const socket = join(directory, 'warden.sock');
  server.listen(socket);
  await once(server, 'listening');
  return {
    socket,
    async stop() {
      for (const open of sockets) open.destroy();
      server.close();
      await once(server, 'close');
      rmSync(directory, { recursive: true });
    },
  };
}

/** Only Info is asked for the directory. */
function rewritten(payload: Buffer, show: (path: string) => string): Buffer {
  const { type, content } = decodeEnvelope(payload);
  if (type !== 'Info') return payload;
  const { containerPath, ...info } = decodeResponse('Info', content);
  return encodeResponse('Info', {
    ...info,
    ...(containerPath !== undefined && { containerPath: show(containerPath) }),
  });
}
