/** Does the work for each item, for so many at a time; begins no more when it is not going on. */
export async function inParallel<T>(
  items: readonly T[],
  workers: number,
  work: (item: T) => Promise<void>,
  isGoingOn: () => boolean,
): Promise<void> {
  const next = items.values();
  const worker = async () => {
    for (const item of next) {
      if (!isGoingOn()) return;
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(workers, items.length) }, worker));
}
