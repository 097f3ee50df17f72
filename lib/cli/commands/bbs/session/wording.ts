import { formatTime } from '../../../quantities.js';

/** The name of an enumeration's number; the number when it has none. */
export function nameOf(names: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(names).find((name) => names[name] === value) ?? String(value);
}

/** Nanoseconds of Unix time as local time; nothing for 0, which means never. */
export function formatNanoseconds(time: bigint): string {
  return time === 0n ? '' : formatTime(new Date(Number(time / 1_000_000n)));
}

/** Apps write some of the texts: none may move the cursor or begin a line. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ');
}
