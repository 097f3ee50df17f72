/** Whole seconds as Go prints them: `25s`, `1m5s`, `1h0m5s`. */
export function goDuration(seconds: number): string {
  const size = Math.abs(seconds);
  const [hours, minutes, rest] = [Math.floor(size / 3600), Math.floor(size / 60) % 60, size % 60];
  const text = hours > 0 ? `${hours}h${minutes}m${rest}s` : minutes > 0 ? `${minutes}m${rest}s` : `${rest}s`;
  return seconds < 0 ? `-${text}` : text;
}
