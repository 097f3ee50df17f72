import { z } from 'zod';

const unitMs = new Map([
  ['ns', 1e-6],
  ['us', 1e-3],
  ['µs', 1e-3],
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
]);

/** Milliseconds of a duration as Go writes it: `30s`, `2m`, `1h30m`, `1.5s`; undefined when it is none. */
export function parseDurationMs(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g);
  return [...parts].reduce((sum, [, amount, unit]) => sum + Number(amount) * unitMs.get(unit!)!, 0);
}

/** A configuration value in seconds, or a duration as upstream's Go programs write it; comes out in seconds. */
export const durationSeconds = z.union([z.number().min(0), z.string()]).transform((value, context) => {
  if (typeof value === 'number') return value;
  const milliseconds = parseDurationMs(value);
  if (milliseconds !== undefined) return milliseconds / 1000;
  context.addIssue({ code: 'custom', message: 'expected seconds, or a duration such as 30s or 2m' });
  return z.NEVER;
});
