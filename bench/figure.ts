/** One measured value, as a ratio against a peer or limit of the same run where there is one. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** What the project wants, as text. */
  target: string;
}

/** The middle value; of an even number the lower of the two. */
export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)]!;
}

/** Prints figures as an aligned table. */
export function printFigures(figures: Figure[]): void {
  const width = Math.max(...figures.map(({ name }) => name.length));
  for (const { name, value, unit, target } of figures) {
    const rounded = value >= 100 ? value.toFixed(0) : value.toFixed(2);
    process.stdout.write(
      `${name.padEnd(width)}  ${rounded.padStart(8)} ${unit}${target ? `  (target ${target})` : ''}\n`,
    );
  }
}
