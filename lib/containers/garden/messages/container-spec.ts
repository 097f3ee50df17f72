import type { ContainerSpec } from '../../engine.js';
import { InvalidSpecError } from '../../errors.js';
import { bool, integer, list, message, string, strings } from '../json/decode.js';
import type { JsonValue } from '../json/encode.js';
import { bindMounts, bindMountsBody, bindMountsFrom } from './bind-mounts.js';
import { millisecondsOf, nanosecondsOf } from './durations.js';
import { limits, limitsBody, limitsFrom } from './limits.js';
import { netOutRuleBody, netOutRuleFrom, netOutRules } from './net-out.js';

export const imageRef = message('ImageRef', { uri: string, username: string, password: string });

const port = integer('uint32');
export const netIn = message('NetIn', { host_port: port, container_port: port });

/** Body of Create (docs/protocol/containers.md §2.3). */
export const containerSpec = message('ContainerSpec', {
  handle: string,
  grace_time: integer('int64'),
  rootfs: string,
  image: imageRef,
  bind_mounts: bindMounts,
  network: string,
  properties: strings,
  env: list(string, 'string'),
  privileged: bool,
  limits,
  netout_rules: netOutRules,
  netin: list(netIn, 'garden.NetIn'),
});

/**
 * A container description for the engine, without what the server's own settings add.
 *
 * @throws InvalidSpecError
 */
export function containerSpecFrom(body: NonNullable<ReturnType<typeof containerSpec>>): ContainerSpec {
  const { handle, grace_time: graceTime, image, network, properties, env, privileged } = body;
  if (image?.uri && body.rootfs) throw new InvalidSpecError('Cannot provide both Image.URI and RootFSPath');
  if (graceTime !== undefined && graceTime < 0) throw new InvalidSpecError(`grace_time: ${graceTime} is negative`);
  const rootfs = image?.uri || body.rootfs;
  const { username, password } = image ?? {};
  return {
    ...(handle && { handle }),
    ...(rootfs && { rootfs }),
    ...((username || password) && { credentials: { username: username ?? '', password: password ?? '' } }),
    ...(body.bind_mounts && { bindMounts: bindMountsFrom(body.bind_mounts) }),
    ...(network && { network }),
    ...(properties && { properties }),
    ...(env && { env }),
    ...(privileged && { privileged }),
    ...(body.limits && { limits: limitsFrom(body.limits) }),
    ...(body.netout_rules && { netOut: body.netout_rules.map(netOutRuleFrom) }),
    ...(body.netin && { netIn: body.netin.map(netInFrom) }),
    ...(graceTime && { graceTimeMs: millisecondsOf(graceTime) }),
  };
}

/** Port numbers for the engine; 0 means that one is chosen. */
export function netInFrom(body: NonNullable<ReturnType<typeof netIn>>): { hostPort?: number; containerPort?: number } {
  const { host_port: hostPort, container_port: containerPort } = body;
  return { ...(hostPort && { hostPort }), ...(containerPort && { containerPort }) };
}

export function netInBody({ hostPort, containerPort }: { hostPort?: number; containerPort?: number }): JsonValue {
  return { host_port: hostPort ?? 0, container_port: containerPort ?? 0 };
}

export function containerSpecBody(spec: ContainerSpec): JsonValue {
  const { credentials, bindMounts: mounts, properties, graceTimeMs } = spec;
  return {
    handle: spec.handle,
    grace_time: graceTimeMs && nanosecondsOf(graceTimeMs),
    image: { uri: spec.rootfs, username: credentials?.username, password: credentials?.password },
    bind_mounts: mounts && bindMountsBody(mounts),
    network: spec.network,
    properties: properties && new Map(Object.entries(properties)),
    env: spec.env,
    privileged: spec.privileged,
    limits: spec.limits && limitsBody(spec.limits),
    netout_rules: spec.netOut?.map(netOutRuleBody),
    netin: spec.netIn?.map(netInBody),
  };
}
