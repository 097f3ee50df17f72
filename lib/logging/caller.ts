import { sourcePosition } from './source-positions.js';

/** Where a line was logged. */
export interface Caller {
  file: string;
  line: number;
  /** Name of the function; `<main>` outside of any. */
  method: string;
}

/** Frames of loggers and what wraps them: readers want to know who called those. */
const loggerFrame =
  /[\\/](?:logging[\\/](?:caller|steno)|counted-logger)\.[jt]s$|[\\/]node_modules[\\/]bunyan[\\/]|^node:/;
const deepest = 16;

/** Who called the logger. Costs some microseconds: ask for lines that are written only. */
export function findCaller(): Caller {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = deepest;
    Error.prepareStackTrace = (_error, frames) => frames;
    const holder: { stack?: NodeJS.CallSite[] } = {};
    Error.captureStackTrace(holder, findCaller);
    for (const frame of holder.stack ?? []) {
      const position = sourcePosition(frame.getFileName() ?? 'node:', frame.getLineNumber() ?? 0);
      if (!position || loggerFrame.test(position.file)) continue;
      return { ...position, method: frame.getFunctionName() ?? '<main>' };
    }
    return { file: '<unknown>', line: 0, method: '<main>' };
  } finally {
    Object.assign(Error, { prepareStackTrace, stackTraceLimit });
  }
}
