import type { ContainerInfo, Properties } from '../../engine.js';
import { integer, list, message, string, strings } from '../json/decode.js';
import type { JsonValue } from '../json/encode.js';

const port = integer('uint32');

export const containerInfo = message('ContainerInfo', {
  State: string,
  Events: list(string, 'string'),
  HostIP: string,
  ContainerIP: string,
  ExternalIP: string,
  ContainerPath: string,
  ProcessIDs: list(string, 'string'),
  Properties: strings,
  MappedPorts: list(message('PortMapping', { HostPort: port, ContainerPort: port }), 'garden.PortMapping'),
});

/**
 * Body of Info (docs/protocol/containers.md §2.3).
 *
 * @param properties with those that the server adds
 */
export function containerInfoBody(info: ContainerInfo, properties: Properties): JsonValue {
  return {
    State: info.state,
    Events: nullIfEmpty(info.events.map(eventText)),
    HostIP: info.hostIp,
    ContainerIP: info.containerIp,
    ContainerIPv6: '',
    ExternalIP: info.externalIp,
    ContainerPath: info.containerPath,
    ProcessIDs: nullIfEmpty(info.processIds),
    Properties: new Map(Object.entries(properties)),
    MappedPorts: mappedPortsBody(info.mappedPorts),
  };
}

/** `Out of memory`: the executor knows it in this spelling. */
export function eventText(event: string): string {
  return `${event.charAt(0).toUpperCase()}${event.slice(1)}`;
}

/** Info of a container that could not be asked. */
export const emptyInfoBody: JsonValue = {
  State: '',
  Events: null,
  HostIP: '',
  ContainerIP: '',
  ContainerIPv6: '',
  ExternalIP: '',
  ContainerPath: '',
  ProcessIDs: null,
  Properties: null,
  MappedPorts: null,
};

export function mappedPortsBody(mappings: ContainerInfo['mappedPorts']): JsonValue {
  return mappings.map(({ hostPort, containerPort }) => ({ HostPort: hostPort, ContainerPort: containerPort }));
}

/** Properties are as the server tells them. */
export function containerInfoFrom(body: NonNullable<ReturnType<typeof containerInfo>>): ContainerInfo {
  return {
    state: body.State === 'stopped' ? 'stopped' : 'active',
    events: (body.Events ?? []).map((event) => event.toLowerCase()),
    hostIp: body.HostIP ?? '',
    containerIp: body.ContainerIP ?? '',
    externalIp: body.ExternalIP ?? '',
    containerPath: body.ContainerPath ?? '',
    processIds: body.ProcessIDs ?? [],
    properties: body.Properties ?? {},
    mappedPorts: (body.MappedPorts ?? []).map(({ HostPort, ContainerPort }) => ({
      hostPort: HostPort ?? 0,
      containerPort: ContainerPort ?? 0,
    })),
  };
}

function nullIfEmpty(values: string[]): string[] | null {
  return values.length === 0 ? null : values;
}
