/** How long something has run as old collectors write it: `0d:1h:2m:3s`. */
export function formatUptime(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  return `${days}d:${hours}h:${minutes}m:${seconds % 60}s`;
}
