import { type ProcessSpec, type RlimitSpec, rlimitNames } from '../../engine.js';
import { InvalidSpecError } from '../../errors.js';
import { integer, list, message, type Shape, string } from '../json/decode.js';
import type { JsonValue } from '../json/encode.js';
import { bindMounts, bindMountsBody, bindMountsFrom } from './bind-mounts.js';
import { imageRef } from './container-spec.js';
import { limits, limitsBody, limitsFrom } from './limits.js';

const int = integer('int');
const uint64 = integer('uint64');

const rlimits = message(
  'ResourceLimits',
  Object.fromEntries(rlimitNames.map((name) => [name, uint64])) as Record<keyof RlimitSpec, Shape<number>>,
);

export const ttySpec = message('TTYSpec', { window_size: message('WindowSize', { columns: int, rows: int }) });

/** Columns or rows. */
export const largestWindow = 65_535;

/** Body of Run (docs/protocol/containers.md §2.3). */
export const processSpec = message('ProcessSpec', {
  id: string,
  path: string,
  args: list(string, 'string'),
  env: list(string, 'string'),
  dir: string,
  user: string,
  rlimits,
  limits,
  tty: ttySpec,
  image: imageRef,
  bind_mounts: bindMounts,
});

/**
 * A process description for the engine.
 *
 * @throws InvalidSpecError
 */
export function processSpecFrom(body: NonNullable<ReturnType<typeof processSpec>>): ProcessSpec {
  const { id, path = '', args, env, dir, user, tty } = body;
  const image = body.image?.uri;
  if (!image && body.bind_mounts?.length) {
    throw new InvalidSpecError('Running a process with bind mounts and no image provided is not allowed');
  }
  return {
    path,
    ...(id && { id }),
    ...(args && { args }),
    ...(env && { env }),
    ...(dir && { dir }),
    ...(user && { user }),
    ...(body.rlimits && { rlimits: rlimitsFrom(body.rlimits) }),
    ...(tty && { tty: windowSizeFrom(tty) }),
    ...(image && { image }),
    ...(image && body.bind_mounts && { bindMounts: bindMountsFrom(body.bind_mounts) }),
    ...(image && body.limits && { limits: limitsFrom(body.limits) }),
  };
}

/** A size that is absent or has a zero is the engine's default. */
function windowSizeFrom({ window_size: size }: NonNullable<ReturnType<typeof ttySpec>>): {
  columns?: number;
  rows?: number;
} {
  if (!size?.columns || !size.rows) return {};
  const { columns, rows } = size;
  for (const [field, value] of Object.entries({ columns, rows })) {
    if (value < 1 || value > largestWindow) {
      throw new InvalidSpecError(`tty.window_size.${field}: ${value} is not within 1 to ${largestWindow}`);
    }
  }
  return { columns, rows };
}

export function processSpecBody(spec: ProcessSpec): JsonValue {
  const { tty, bindMounts: mounts } = spec;
  return {
    id: spec.id,
    path: spec.path,
    args: spec.args,
    env: spec.env,
    dir: spec.dir,
    user: spec.user,
    rlimits: spec.rlimits,
    limits: spec.limits && limitsBody(spec.limits),
    tty: tty && { window_size: { columns: tty.columns ?? 80, rows: tty.rows ?? 24 } },
    image: spec.image === undefined ? undefined : { uri: spec.image },
    bind_mounts: mounts && bindMountsBody(mounts),
  };
}

function rlimitsFrom(body: NonNullable<ReturnType<typeof rlimits>>): RlimitSpec {
  const given = Object.entries(body).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given);
}
