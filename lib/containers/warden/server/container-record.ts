import { z } from 'zod';

const jobRecordSchema = z.object({
  discardOutput: z.boolean(),
  logTag: z.string().exactOptional(),
  /** It was ended for saying more than is allowed. */
  hasExceededOutput: z.boolean(),
  /** Of one that has ended, where the engine was asked for it already and so forgets it. */
  exitStatus: z.number().exactOptional(),
});

const containerRecordSchema = z.object({
  handle: z.string(),
  /** Absent: never reaped. */
  graceTimeMs: z.number().exactOptional(),
  /** Those that the engine does not know. */
  events: z.array(z.string()),
  /** The highest job id that was ever given in this container. */
  lastJobId: z.number(),
  /** Jobs whose result nobody has got yet, by id. */
  jobs: z.record(z.string(), jobRecordSchema),
});

/** What the server must remember of a job beyond what the engine does. */
export type JobRecord = z.output<typeof jobRecordSchema>;
/** What the server must remember of a container; lies in a property of it, and so lives and goes with it. */
export type ContainerRecord = z.output<typeof containerRecordSchema>;

/** Containers with this property and value were made by a Warden server. */
export const ownProperty = { name: 'warden.owner', value: 'warden' };
export const recordProperty = 'warden.record';

export function formatRecord(record: ContainerRecord): string {
  return JSON.stringify(record);
}

/** @throws when the property is missing or was spoilt */
export function parseRecord(text: string | undefined): ContainerRecord {
  if (text === undefined) throw new Error(`the property ${recordProperty} is missing`);
  return containerRecordSchema.parse(JSON.parse(text));
}
