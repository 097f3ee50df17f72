import type { ContainerEngine, ContainerInfo } from '../../engine.js';
import { InvalidSpecError, UnknownPropertyError } from '../../errors.js';
import { bool, decodeBody, firstValue, integer, message, string } from '../json/decode.js';
import type { JsonValue } from '../json/encode.js';
import { containerSpec, containerSpecFrom, netIn, netInBody, netInFrom } from '../messages/container-spec.js';
import { millisecondsOf } from '../messages/durations.js';
import { bulkErrorBody } from '../messages/errors.js';
import { containerInfoBody, emptyInfoBody } from '../messages/info.js';
import { type LimitKind, limitBodies } from '../messages/limits.js';
import { capacityBody, emptyMetricsBody, metricsBody } from '../messages/metrics.js';
import { netOutRule, netOutRuleFrom, netOutRules } from '../messages/net-out.js';
import { backendProperties, graceTimeProperty, visibleProperties } from '../messages/properties.js';
import type { RouteName } from '../routes.js';
import type { Catalogue } from './catalogue.js';
import type { Exchange } from './exchange.js';

/** Answers a request with a JSON body. */
type Answer = (exchange: Exchange) => Promise<JsonValue>;

/** The verbs whose answers are JSON, all but those of files and processes. */
export type ContainerRoute = Exclude<RouteName, 'streamIn' | 'streamOut' | 'run' | 'attach' | 'stdout' | 'stderr'>;

const stopRequest = message('StopRequest', { kill: bool });
const propertyValue = message('PropertyValue', { value: string });
const nanoseconds = integer('int64');

/** What each verb asks of the engine (docs/protocol/containers.md §2.2). */
export function containerHandlers(engine: ContainerEngine, catalogue: Catalogue): Record<ContainerRoute, Answer> {
  const container = ({ handle }: Exchange) => engine.lookup(handle);
  const limits =
    (kind: LimitKind): Answer =>
    async (exchange) =>
      limitBodies[kind](await (await container(exchange)).limits());

  return {
    ping: async () => ({}),
    capacity: async () => capacityBody(await catalogue.capacity()),

    list: async ({ query }) => {
      // Of a key that comes again the first value counts.
      const filter = Object.fromEntries([...query].reverse());
      return { Handles: await catalogue.list(filter) };
    },

    create: async (exchange) => {
      const spec = containerSpecFrom(decodeBody(await exchange.body(), containerSpec));
      return { Handle: (await catalogue.create(spec)).handle };
    },

    bulkInfo: async ({ query }) => {
      const infos = await engine.bulkInfo(handlesIn(query));
      const entry = (info: ContainerInfo | Error) =>
        info instanceof Error
          ? { Info: emptyInfoBody, Err: bulkErrorBody(info) }
          : { Info: containerInfoBody(info, visibleProperties(info)), Err: null };
      return new Map([...infos].map(([handle, info]) => [handle, entry(info)]));
    },

    bulkMetrics: async ({ query }) => {
      const handles = handlesIn(query);
      const [infos, metrics] = await Promise.all([engine.bulkInfo(handles), engine.bulkMetrics(handles)]);
      return new Map(
        [...metrics].map(([handle, measured]) => {
          if (measured instanceof Error) return [handle, { Metrics: emptyMetricsBody, Err: bulkErrorBody(measured) }];
          const info = infos.get(handle);
          const hasNetwork = info === undefined || info instanceof Error || !checksHealth(info.properties);
          return [handle, { Metrics: metricsBody(measured, { hasNetwork }), Err: null }];
        }),
      );
    },

    info: async (exchange) => {
      const info = await (await container(exchange)).info();
      return containerInfoBody(info, visibleProperties(info));
    },

    metrics: async (exchange) => {
      const found = await container(exchange);
      const [metrics, properties] = await Promise.all([found.metrics(), found.properties()]);
      return metricsBody(metrics, { hasNetwork: !checksHealth(properties) });
    },

    destroy: async ({ handle }) => {
      await catalogue.destroy(handle);
      return {};
    },

    stop: async (exchange) => {
      const { kill = false } = decodeBody(await exchange.body(), stopRequest);
      await (await container(exchange)).stop({ kill });
      return {};
    },

    bandwidthLimits: limits('bandwidth'),
    cpuLimits: limits('cpu'),
    diskLimits: limits('disk'),
    memoryLimits: limits('memory'),

    netIn: async (exchange) => {
      const request = netInFrom(decodeBody(await exchange.body(), netIn));
      return netInBody(await (await container(exchange)).netIn(request));
    },

    netOut: async (exchange) => {
      const rule = netOutRuleFrom(decodeBody(await exchange.body(), netOutRule));
      await (await container(exchange)).netOut([rule]);
      return {};
    },

    bulkNetOut: async (exchange) => {
      const given = netOutRules(firstValue(await exchange.body()), { message: '', path: [] }) ?? [];
      const rules = given.map(netOutRuleFrom);
      const found = await container(exchange);
      if (rules.length > 0) await found.netOut(rules);
      return {};
    },

    setGraceTime: async (exchange) => {
      const given = nanoseconds(firstValue(await exchange.body()), { message: '', path: [] }) ?? 0;
      if (given < 0) throw new InvalidSpecError(`grace_time: ${given} is negative`);
      const graceTimeMs = millisecondsOf(given);
      const found = await container(exchange);
      for (const [name, value] of Object.entries(graceTimeProperty(graceTimeMs))) await found.setProperty(name, value);
      await found.setGraceTime(graceTimeMs);
      return {};
    },

    properties: async (exchange) => {
      const info = await (await container(exchange)).info();
      return new Map(Object.entries(visibleProperties(info)));
    },

    property: async (exchange) => {
      const key = exchange.parameter('key');
      const properties = visibleProperties(await (await container(exchange)).info());
      if (!Object.hasOwn(properties, key)) throw new UnknownPropertyError(key);
      return { value: properties[key] };
    },

    setProperty: async (exchange) => {
      const { value = '' } = decodeBody(await exchange.body(), propertyValue);
      await (await container(exchange)).setProperty(exchange.parameter('key'), value);
      return {};
    },

    removeProperty: async (exchange) => {
      const found = await container(exchange);
      await found.removeProperty(exchange.parameter('key')).catch((error: unknown) => {
        // It is as the client wants it.
        if (!(error instanceof UnknownPropertyError)) throw error;
      });
      return {};
    },
  };
}

function handlesIn(query: URLSearchParams): string[] {
  const handles = (query.get('handles') ?? '').split(',').filter((handle) => handle !== '');
  return [...new Set(handles)];
}

function checksHealth(properties: ContainerInfo['properties']): boolean {
  return properties[backendProperties.healthCheck] === 'true';
}
