import { z } from 'zod';
import type { CrashCount, DesiredApp, InstanceHeartbeat, PendingStart, PendingStop } from '../../records.js';
import { appVersionOf } from './keys.js';

/** Values of the Redis layout (docs/protocol/health-manager.md §3.3, §3.4). Readers return undefined for foreign ones. */

const instancePattern = /^([^,]+),([^,]+),([^,]+),([^,]+),([^,]+),([^,]+)$/;

export function writeInstance({ dea, index, state, stateTimestamp, app, version }: InstanceHeartbeat): string {
  return `${dea},${index},${state},${stateTimestamp},${app},${version}`;
}

export function readInstance(instance: string, value: string): InstanceHeartbeat | undefined {
  const parts = instancePattern.exec(value);
  if (!parts) return undefined;
  const [, dea, , state, , app, version] = parts;
  const index = Number(parts[2]);
  const stateTimestamp = Number(parts[4]);
  if (!Number.isInteger(index) || Number.isNaN(stateTimestamp)) return undefined;
  return { instance, app: app!, version: version!, index, state: state!, stateTimestamp, dea: dea! };
}

const desiredPattern = /^(\d+),STARTED,(STAGED|PENDING)$/;

export function writeDesired({ instances, packageState }: DesiredApp): string {
  return `${instances},STARTED,${packageState}`;
}

/** @param key `<app>,<version>` */
export function readDesired(key: string, value: string): DesiredApp | undefined {
  const parts = desiredPattern.exec(value);
  if (!parts || !/^[^,]+,[^,]+$/.test(key)) return undefined;
  const packageState = parts[2] as DesiredApp['packageState'];
  return { ...appVersionOf(key), instances: Number(parts[1]), packageState };
}

const crashPattern = /^(\d+),(\d+(?:\.\d+)?),(\d+)$/;

export interface ExpiringCrashCount extends CrashCount {
  /** Unix milliseconds. */
  expiresAt: number;
}

/** The script that keeps it appends when it expires. */
export function writeCrashCount({ crashCount, createdAt }: CrashCount): string {
  return `${crashCount},${createdAt}`;
}

export function readCrashCount(index: string, value: string): ExpiringCrashCount | undefined {
  const parts = crashPattern.exec(value);
  if (!parts || !/^\d+$/.test(index)) return undefined;
  return {
    index: Number(index),
    crashCount: Number(parts[1]),
    createdAt: Number(parts[2]),
    expiresAt: Number(parts[3]),
  };
}

const message = {
  message_id: z.string().min(1),
  send_on: z.number(),
  sent_on: z.number(),
  keep_alive: z.number(),
  droplet: z.string().min(1),
  version: z.string().min(1),
};
const startSchema = z.object({
  ...message,
  index: z.int().min(0),
  priority: z.number(),
  skip_verification: z.boolean(),
  start_reason: z.enum(['MISSING', 'CRASHED', 'EVACUATING']),
});
const stopSchema = z.object({
  ...message,
  instance: z.string().min(1),
  stop_reason: z.enum(['EXTRA', 'DUPLICATE', 'EVACUATION_COMPLETE']),
});

export function writeStart(start: PendingStart): string {
  const document: z.input<typeof startSchema> = {
    ...envelope(start),
    index: start.index,
    priority: start.priority,
    skip_verification: start.skipVerification,
    start_reason: start.reason,
  };
  return JSON.stringify(document);
}

export function readStart(value: string): PendingStart | undefined {
  const document = parseAs(startSchema, value);
  if (!document) return undefined;
  return {
    ...contents(document),
    index: document.index,
    priority: document.priority,
    skipVerification: document.skip_verification,
    reason: document.start_reason,
  };
}

export function writeStop(stop: PendingStop): string {
  const document: z.input<typeof stopSchema> = {
    ...envelope(stop),
    instance: stop.instance,
    stop_reason: stop.reason,
  };
  return JSON.stringify(document);
}

export function readStop(value: string): PendingStop | undefined {
  const document = parseAs(stopSchema, value);
  if (!document) return undefined;
  return { ...contents(document), instance: document.instance, reason: document.stop_reason };
}

/** When something began and until when it is believed; unix milliseconds. */
export interface Mark {
  since: number;
  until: number;
}

/** A mark that cannot be read is as good as none: nothing is fresh then. */
export function readMark(value: string | null): Mark | undefined {
  const parts = /^(\d+),(\d+)(?:,|$)/.exec(value ?? '');
  return parts ? { since: Number(parts[1]), until: Number(parts[2]) } : undefined;
}

function envelope({ messageId, sendOn, sentOn, keepAlive, app, version }: PendingStart | PendingStop) {
  return { message_id: messageId, send_on: sendOn, sent_on: sentOn, keep_alive: keepAlive, droplet: app, version };
}

function contents(document: z.output<typeof startSchema> | z.output<typeof stopSchema>) {
  return {
    messageId: document.message_id,
    app: document.droplet,
    version: document.version,
    sendOn: document.send_on,
    sentOn: document.sent_on,
    keepAlive: document.keep_alive,
  };
}

function parseAs<Schema extends z.ZodType>(schema: Schema, value: string): z.output<Schema> | undefined {
  try {
    return schema.safeParse(JSON.parse(value)).data;
  } catch {
    return undefined;
  }
}
