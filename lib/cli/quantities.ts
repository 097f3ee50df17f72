import { InvalidArgumentError } from 'commander';

const bytesPerMegabyte = 1024 * 1024;

/** Megabytes from `256M`, `1G`, `512MB` or a bare number. @throws InvalidArgumentError */
export function parseMegabytes(text: string): number {
  const [, digits, unit = 'M'] = /^(\d+(?:\.\d+)?)\s*([MG])?B?$/i.exec(text) ?? [];
  const megabytes = Number(digits) * (unit.toUpperCase() === 'G' ? 1024 : 1);
  if (!Number.isInteger(megabytes) || megabytes <= 0) throw new InvalidArgumentError('Give it as 256M or 1G.');
  return megabytes;
}

/** A whole number from 0 on. @throws InvalidArgumentError */
export function parseCount(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('Give a whole number.');
  return Number(text);
}

/** `K=V` added to those before; the value may have more `=`. @throws InvalidArgumentError */
export function collectVariable(text: string, before: Record<string, string>): Record<string, string> {
  const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError('Give it as NAME=value.');
  return { ...before, [name]: value };
}

/** `1.5G`, `34.2M`, `12K`, `7B`; powers of 1024. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'K', 'M', 'G', 'T'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)}${units[unit]}`;
}

/** As `formatBytes`, from megabytes. */
export function formatMegabytes(megabytes: number): string {
  return formatBytes(megabytes * bytesPerMegabyte);
}

/** `2026-11-24 03:04:05`, local time. */
export function formatTime(time: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

/** `2026-11-24T03:04:05.67+0100`, local time to the hundredth of a second. */
export function formatLogTime(time: Date): string {
  const hundredths = String(Math.floor(time.getMilliseconds() / 10)).padStart(2, '0');
  const offset = -time.getTimezoneOffset();
  const two = (value: number) => String(value).padStart(2, '0');
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  return `${formatTime(time).replace(' ', 'T')}.${hundredths}${zone}`;
}

/** `3d 4h`, `5m 6s`, `7s`: the two largest units. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'm'],
    [whole % 60, 's'],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first === -1) return '0s';
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value}${unit}`)
    .join(' ');
}
