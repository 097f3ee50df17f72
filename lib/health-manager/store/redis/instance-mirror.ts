import type { InstanceHeartbeat } from '../../records.js';
import type { Database } from './database.js';
import { ForeignValueError, StoreUnavailableError } from './errors.js';
import { appKey, appVersionOf } from './keys.js';
import { readListNames, readLists } from './scripts.js';
import { readInstance } from './values.js';

/** DEAs whose lists one script reads: some hundred KB where each has 250 instances. */
const deasAtATime = 10;
/** Redis reads one while this process takes in the other. */
const slicesAtATime = 2;
/**
 * Of the lists that have not changed so many are read again each time, at least, and so large a part of all: a value
 * that a stranger has written changes no name, and is found all the same.
 */
const readAgain = { atLeast: 20, part: 1 / 60 };
/** How often instances may move while they are being read. */
const maximumRounds = 20;

/** What a DEA listed, and the name that Redis keeps with it (`dea:<dea>`, keys.ts). */
interface KnownList {
  name: string;
  instances: InstanceHeartbeat[];
}

/** An app-version with the instances that it has anywhere, by guid. */
export interface MirroredApp {
  readonly app: string;
  readonly version: string;
  readonly instances: Map<string, InstanceHeartbeat>;
}

/**
 * The instances of DEAs that are present, as Redis has them. Whoever changes a list, or takes an instance over from one,
 * gives it another name: a list that still has its name says what it said when it was read, and is not read again. So an
 * analysis of a quarter of a million instances costs what has changed since the last one.
 */
export class InstanceMirror {
  /** Those that were read longest ago stand first. */
  readonly #lists = new Map<string, KnownList>();
  readonly #apps = new Map<string, MirroredApp>();

  constructor(private readonly database: Database) {}

  /** By `<app>,<version>`, as of the last `update`. */
  get apps(): ReadonlyMap<string, MirroredApp> {
    return this.#apps;
  }

  /**
   * Afterwards every list is as it was at the moment when all names were looked up: an instance that went from agent to
   * agent meanwhile is seen where it was then, and not missed between one that is read late and one that was read early.
   * What has lost that name before it was read is looked up once more; there is less of it each time.
   *
   * One update at a time.
   *
   * @throws StoreUnavailableError, WrongTypeError, ForeignValueError
   */
  async update(): Promise<void> {
    let toRead = this.#readLongestAgo();
    for (let round = 0; round < maximumRounds; round += 1) {
      const names = await this.#presentLists();
      this.#forgetAbsent(names);
      for (const [dea, name] of names) if (name === '' || this.#lists.get(dea)?.name !== name) toRead.add(dea);
      const present = [...toRead].filter((dea) => names.has(dea));
      await this.#read(present);
      if (present.every((dea) => this.#lists.get(dea)!.name === names.get(dea))) return;
      toRead = new Set();
    }
    throw new StoreUnavailableError('instances move faster than they can be read');
  }

  #readLongestAgo(): Set<string> {
    const count = Math.max(readAgain.atLeast, Math.ceil(this.#lists.size * readAgain.part));
    const deas = new Set<string>();
    for (const dea of this.#lists.keys()) {
      if (deas.size === count) break;
      deas.add(dea);
    }
    return deas;
  }

  /** DEAs, and the names of their lists; a list has an empty one while nothing is to be concluded from any. */
  async #presentLists(): Promise<Map<string, string>> {
    const flat = (await this.database.run(readListNames)) as string[];
    const names = new Map<string, string>();
    for (let at = 0; at < flat.length; at += 2) names.set(flat[at]!, flat[at + 1]!);
    return names;
  }

  #forgetAbsent(present: ReadonlyMap<string, string>): void {
    for (const [dea, { instances }] of this.#lists) {
      if (present.has(dea)) continue;
      this.#lists.delete(dea);
      this.#remove(instances);
    }
  }

  async #read(deas: string[]): Promise<void> {
    const slices: string[][] = [];
    for (let at = 0; at < deas.length; at += deasAtATime) slices.push(deas.slice(at, at + deasAtATime));
    const read = async (slice: string[]) => {
      const found = (await this.database.run(readLists, slice)) as string[][];
      for (const [position, list] of found.entries()) this.#replace(slice[position]!, list);
    };
    await this.database.connection.each(slices, read, slicesAtATime);
  }

  #replace(dea: string, [name, ...entries]: string[]): void {
    const instances: InstanceHeartbeat[] = [];
    for (let at = 0; at < entries.length; at += 2) instances.push(this.#parse(dea, entries[at]!, entries[at + 1]!));
    this.#remove(this.#lists.get(dea)?.instances ?? []);
    this.#lists.delete(dea);
    this.#lists.set(dea, { name: name!, instances });
    for (const entry of instances) this.#appOf(entry).instances.set(entry.instance, entry);
  }

  /** Shares what is the same in many instances: there may be a quarter of a million. */
  #parse(dea: string, guid: string, value: string): InstanceHeartbeat {
    const read = readInstance(guid, value);
    if (!read) throw new ForeignValueError('instances', guid, value);
    const { app, version } = this.#apps.get(appKey(read)) ?? read;
    return { ...read, app, version, dea, state: sharedStates.get(read.state) ?? read.state };
  }

  #appOf(owner: { app: string; version: string }): MirroredApp {
    const key = appKey(owner);
    let app = this.#apps.get(key);
    if (!app) {
      app = { ...appVersionOf(key), instances: new Map() };
      this.#apps.set(key, app);
    }
    return app;
  }

  /** Not those that another DEA has listed since. */
  #remove(entries: InstanceHeartbeat[]): void {
    for (const entry of entries) {
      const key = appKey(entry);
      const app = this.#apps.get(key);
      if (app?.instances.get(entry.instance) !== entry) continue;
      app.instances.delete(entry.instance);
      if (app.instances.size === 0) this.#apps.delete(key);
    }
  }
}

const sharedStates = new Map(
  ['STARTING', 'RUNNING', 'EVACUATING', 'CRASHED', 'STOPPING'].map((state) => [state, state] as const),
);
