import type { ContainerInfo, Properties } from '../../engine.js';
import { encodeJson } from '../json/encode.js';
import { nanosecondsOf } from './durations.js';
import { eventText, mappedPortsBody } from './info.js';

/** Names of properties that a Garden backend keeps itself (docs/protocol/containers.md §3.8). */
export const backendProperties = {
  state: 'garden.state',
  graceTime: 'garden.grace-time',
  containerIp: 'garden.network.container-ip',
  hostIp: 'garden.network.host-ip',
  externalIp: 'garden.network.external-ip',
  mappedPorts: 'garden.network.mapped-ports',
  events: 'rundmc.events',
  stopped: 'rundmc.state',
  /** Set by clients for containers that only check others; they have no traffic to tell. */
  healthCheck: 'network.healthcheck',
};

/** The value of `garden.state` of every container that is not just being made. */
export const createdState = 'created';

/** Properties as clients see them: their own, and those of the backend. */
export function visibleProperties(info: ContainerInfo): Properties {
  return {
    ...info.properties,
    [backendProperties.state]: createdState,
    [backendProperties.containerIp]: info.containerIp,
    [backendProperties.hostIp]: info.hostIp,
    [backendProperties.externalIp]: info.externalIp,
    [backendProperties.mappedPorts]: encodeJson(mappedPortsBody(info.mappedPorts)).trimEnd(),
    ...(info.events.length > 0 && { [backendProperties.events]: info.events.map(eventText).join(',') }),
    ...(info.state === 'stopped' && { [backendProperties.stopped]: info.state }),
  };
}

/** The backend's property that remembers a grace time. */
export function graceTimeProperty(graceTimeMs: number): Properties {
  return { [backendProperties.graceTime]: String(nanosecondsOf(graceTimeMs)) };
}

const ofBackend = /^(garden\.(state$|grace-time$|network\.)|kawasaki\.|rundmc\.)/;

/** Properties without those of a backend, ours or upstream's. */
export function ownProperties(properties: Properties): Properties {
  return Object.fromEntries(Object.entries(properties).filter(([name]) => !ofBackend.test(name)));
}
