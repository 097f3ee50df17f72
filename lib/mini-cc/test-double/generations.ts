import { subjects } from '../messages.js';
import type { Generation } from './faults.js';

/** A message of the bus. */
export interface BusText {
  subject: string;
  data: unknown;
}

type Fields = Record<string, unknown>;

/** Ids that have advertised themselves. */
export interface KnownCells {
  deas: ReadonlySet<string>;
  stagers: ReadonlySet<string>;
}

const startSubject = /^dea\.[^.]+\.start$/;
const stagingSubject = /^staging\.[^.]+\.start$/;

/**
 * What a Cloud Controller of a year sends in the place of a message (docs/protocol/legacy-cc.md, the notes **2014** and
 * **2016+** of §1 to §5, and §10). Pure.
 *
 * @param generation undefined: the message as it is
 */
export function outgoing(generation: Generation | undefined, subject: string, data: unknown): BusText[] {
  if (generation === undefined) return [{ subject, data }];
  // Nobody has sent it since August 2014.
  if (subject === subjects.dropletUpdated) return generation === 2014 ? [{ subject, data }] : [];
  if (generation === 2014) return [{ subject, data: outgoing2014(subject, data) }];
  if (generation === 2015) return [{ subject, data }];
  if (subject === subjects.buildpacks) return [];
  return [{ subject, data: stagingSubject.test(subject) ? { ...(data as Fields), accepts_http: true } : data }];
}

/**
 * As what a message counts that comes from the bus: before 2016 nobody knew an agent's address for HTTPS, and from then on
 * there is no pool of stagers, any agent is one. Pure.
 */
export function incoming(generation: Generation | undefined, subject: string, data: unknown): BusText[] {
  const isAdvertisement = subject === subjects.deaAdvertise;
  if (generation === undefined) return [{ subject, data }];
  if (generation !== 2016) return [{ subject, data: isAdvertisement ? withoutUrl(data) : data }];
  if (subject === subjects.stagingAdvertise) return [];
  return isAdvertisement
    ? [subject, subjects.stagingAdvertise].map((as) => ({ subject: as, data }))
    : [{ subject, data }];
}

/**
 * Whether a Cloud Controller of the year stumbles when it chooses the cell that the message goes to: until 2015 it takes
 * the memory off both pools, and looks up the id in the other one without checking (docs/protocol/legacy-cc.md §2.2).
 * Of a start it does so when the message has gone out, of a staging before. Pure.
 */
export function stumblesOver(
  generation: Generation | undefined,
  subject: string,
  { deas, stagers }: KnownCells,
): boolean {
  if (generation === undefined || generation === 2016) return false;
  const id = subject.split('.')[1] ?? '';
  if (startSubject.test(subject)) return !stagers.has(id);
  return stagingSubject.test(subject) && !deas.has(id);
}

function outgoing2014(subject: string, data: unknown): unknown {
  if (startSubject.test(subject)) return start2014(data as Fields);
  if (!stagingSubject.test(subject)) return data;
  const { egress_network_rules: _rules, start_message: start, ...rest } = data as Fields;
  return { ...rest, start_message: start2014(start as Fields) };
}

function start2014({ stack: _stack, egress_network_rules: _rules, vcap_application, ...rest }: Fields): Fields {
  const { application_id: _id, ...application } = (vcap_application ?? {}) as Fields;
  return { ...rest, vcap_application: application };
}

function withoutUrl(advertisement: unknown): unknown {
  if (typeof advertisement !== 'object' || advertisement === null) return advertisement;
  const { url: _url, ...rest } = advertisement as Fields;
  return rest;
}
