import { z } from 'zod';
import { type AppState, isKnown } from '../records.js';
import type { AppVersion, HealthStore } from '../store/health-store.js';
import { AskedBefore, type Subjects } from './asked-before.js';

const questionSchema = z.object({ droplet: z.string(), version: z.string() });
const questionsSchema = z.array(questionSchema);

/** What a Cloud Controller asks about one app-version. @returns undefined when it is no such question */
export function readQuestion(data: unknown): AppVersion | undefined {
  const question = questionSchema.safeParse(data);
  return question.success ? { app: question.data.droplet, version: question.data.version } : undefined;
}

/** @returns undefined when it is no list of questions; null counts as an empty one */
export function readQuestions(data: unknown): AppVersion[] | undefined {
  const questions = questionsSchema.safeParse(data ?? []);
  return questions.success ? questions.data.map(({ droplet, version }) => ({ app: droplet, version })) : undefined;
}

/** A member of the answer to many questions, `"<app guid>":{...}`. */
interface Member {
  revision: number | undefined;
  bytes: Buffer;
  /** Where the app's own object begins in it. */
  objectAt: number;
}

const nothing = Buffer.from('{}');
const [openingBrace, comma, closingBrace] = [...'{,}'].map((sign) => sign.charCodeAt(0)) as [number, number, number];

/**
 * Tells Cloud Controllers what is known of their apps (docs/protocol/health-manager.md §8), as JSON. They ask for whole
 * spaces again and again, so what was said of an app is kept as bytes until something changes.
 */
export class AppStateReport {
  readonly #members = new WeakMap<AppState, Member>();
  readonly #askedBefore = new AskedBefore();

  constructor(private readonly store: HealthStore) {}

  /** One app, or `{}` when it is unknown or nothing can be said. */
  async ofOne(question: AppVersion): Promise<Buffer> {
    if (!(await this.#isFresh())) return nothing;
    const [app] = await this.store.getApps([question]);
    if (!app) return nothing;
    const { bytes, objectAt } = this.#memberOf(app);
    return bytes.subarray(objectAt);
  }

  /** An object of the known ones by app guid; of two versions of one app the last one known. */
  async ofMany(questions: AppVersion[]): Promise<Buffer> {
    if (!(await this.#isFresh())) return nothing;
    return this.#join((await this.#find(questions)).apps, Buffer.allocUnsafe);
  }

  /**
   * As `ofMany`, for questions as they come.
   *
   * @param allocate gets the memory that the answer is written to
   * @throws SyntaxError when it is not JSON
   */
  async ofBody(body: Buffer, allocate: (bytes: number) => Buffer = Buffer.allocUnsafe): Promise<Buffer> {
    if (!(await this.#isFresh())) return nothing;
    const name = AskedBefore.nameOf(body);
    const before = this.#askedBefore.get(name);
    if (before && (await this.#isSo(before))) return this.#join(before.apps, allocate);
    this.#askedBefore.forget(name);
    const questions = readQuestions(JSON.parse(body.toString()));
    if (!questions) return nothing;
    const subjects = await this.#find(questions);
    // What was so at a moment is not worth being remembered.
    if (subjects.apps.every(({ revision }) => revision !== undefined)) this.#askedBefore.remember(name, subjects);
    return this.#join(subjects.apps, allocate);
  }

  async #find(questions: AppVersion[]): Promise<Subjects> {
    const known = new Map<string, AppState>();
    const unknown: AppVersion[] = [];
    for (const [position, app] of (await this.store.getApps(questions)).entries()) {
      if (app) known.set(app.app, app);
      else unknown.push(questions[position]!);
    }
    return { apps: [...known.values()], unknown };
  }

  /** Whether apps that are kept up are known still, and the others are not known yet. */
  async #isSo({ apps, unknown }: Subjects): Promise<boolean> {
    if (!apps.every(isKnown)) return false;
    return unknown.length === 0 || (await this.store.getApps([...unknown])).every((app) => app === undefined);
  }

  #join(apps: readonly AppState[], allocate: (bytes: number) => Buffer): Buffer {
    if (apps.length === 0) return nothing;
    const members = apps.map((app) => this.#memberOf(app).bytes);
    // A brace or a comma before each, and a brace at the end.
    const answer = allocate(members.reduce((sum, { length }) => sum + 1 + length, 1));
    let at = 0;
    for (const member of members) {
      answer[at] = at === 0 ? openingBrace : comma;
      answer.set(member, at + 1);
      at += 1 + member.length;
    }
    answer[at] = closingBrace;
    return answer;
  }

  async #isFresh(): Promise<boolean> {
    const { isActualFresh, isDesiredFresh } = await this.store.freshness();
    return isActualFresh && isDesiredFresh;
  }

  #memberOf(app: AppState): Member {
    const kept = this.#members.get(app);
    if (kept && kept.revision === app.revision) return kept;
    const key = `${JSON.stringify(app.app)}:`;
    const bytes = Buffer.from(key + describe(app));
    const member = { revision: app.revision, bytes, objectAt: Buffer.byteLength(key) };
    this.#members.set(app, member);
    return member;
  }
}

/** As JSON, put together by hand: of a thousand apps after a large change that is what takes the time. */
function describe({ app, version, desired, instances, crashCounts }: AppState): string {
  const quote = JSON.stringify;
  const name = `"droplet":${quote(app)},"version":${quote(version)}`;
  const wanted = desired
    ? `"id":${quote(app)},"version":${quote(version)},"instances":${desired.instances},"state":"STARTED"`
    : '"id":"","version":"","instances":0,"state":""';
  const heartbeats: string[] = [];
  for (const { instance, index, state, stateTimestamp, dea } of instances.values()) {
    heartbeats.push(
      `{${name},"instance":${quote(instance)},"index":${index},"state":${quote(state)},` +
        `"state_timestamp":${stateTimestamp},"dea_guid":${quote(dea)}}`,
    );
  }
  const crashes = [...crashCounts.values()].map(
    ({ index, crashCount, createdAt }) =>
      `{${name},"instance_index":${index},"crash_count":${crashCount},"created_at":${createdAt}}`,
  );
  return (
    `{${name},"desired":{${wanted},"package_state":"${desired?.packageState ?? ''}"},` +
    `"instance_heartbeats":[${heartbeats.join(',')}],"crash_counts":[${crashes.join(',')}]}`
  );
}
