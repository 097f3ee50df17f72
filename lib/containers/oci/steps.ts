/** A part of a larger work that can be taken back. Both directions get the same context. */
export interface Step<Context> {
  name: string;
  run(context: Context): Promise<void>;
  /** Takes back what `run` did, also when it was only half done. */
  undo?(context: Context): Promise<void>;
}

export interface StepsOptions {
  /** Hears of an `undo` that failed; the others are undone all the same. */
  onUndoFailure: (step: string, error: unknown) => void;
}

/**
 * Does stages one after the other, the steps of a stage side by side. When a step fails, every step that was begun is
 * undone, last stage first, and the step's error is thrown.
 */
export async function runStages<Context>(
  stages: Step<Context>[][],
  context: Context,
  options: StepsOptions,
): Promise<void> {
  const begun: Step<Context>[][] = [];
  for (const stage of stages) {
    begun.push(stage);
    const results = await Promise.allSettled(stage.map((step) => step.run(context)));
    const failure = results.find((result) => result.status === 'rejected');
    if (failure === undefined) continue;
    await undoStages(begun, context, options);
    throw failure.reason;
  }
}

async function undoStages<Context>(begun: Step<Context>[][], context: Context, options: StepsOptions): Promise<void> {
  for (const stage of begun.reverse()) {
    await Promise.all(
      stage.map((step) => step.undo?.(context).catch((error: unknown) => options.onUndoFailure(step.name, error))),
    );
  }
}
