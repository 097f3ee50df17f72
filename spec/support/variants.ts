/**
 * What specs of single abilities run with: the runtime that the engine chooses first, and one way to a Garden server.
 * With `EVERY_VARIANT=1` they run with the others as well, which takes minutes more; in every run runc keeps the
 * engine's contract, and TCP is spoken by specs of the connections.
 */
const isEveryVariant = process.env.EVERY_VARIANT === '1';

export const runtimes: readonly ('crun' | 'runc')[] = isEveryVariant ? ['crun', 'runc'] : ['crun'];

export const gardenTransports: readonly ('unix' | 'tcp')[] = isEveryVariant ? ['unix', 'tcp'] : ['unix'];

/** Whether specs run as well that wait as long as an installation does, for minutes. */
export const waitsRealTimes = isEveryVariant;
