import type { BindMount } from '../../engine.js';
import { integer, list, message, string } from '../json/decode.js';
import { type JsonValue, unlessZero } from '../json/encode.js';

const enumeration = integer('uint8');

export const bindMounts = list(
  message('BindMount', { src_path: string, dst_path: string, mode: enumeration, origin: enumeration }),
  'garden.BindMount',
);

const modes: BindMount['mode'][] = ['ro', 'rw'];
const origins: NonNullable<BindMount['origin']>[] = ['host', 'container'];

/** Bind mounts for the engine; an unknown number means the default, 0. */
export function bindMountsFrom(body: NonNullable<ReturnType<typeof bindMounts>>): BindMount[] {
  return body.map((mount) => ({
    source: mount.src_path ?? '',
    destination: mount.dst_path ?? '',
    mode: modes[mount.mode ?? 0] ?? 'ro',
    origin: origins[mount.origin ?? 0] ?? 'host',
  }));
}

export function bindMountsBody(mounts: BindMount[]): JsonValue {
  return mounts.map(({ source, destination, mode, origin = 'host' }) => ({
    src_path: source,
    dst_path: destination,
    mode: unlessZero(modes.indexOf(mode)),
    origin: unlessZero(origins.indexOf(origin)),
  }));
}
