const { writeFileSync } = require('node:fs');
const { relative } = require('node:path');
const Mocha = require('mocha');

const { EVENT_HOOK_END, EVENT_RUN_END, EVENT_TEST_END, EVENT_TEST_RETRY } = Mocha.Runner.constants;

/** How many of the slowest spec files a run names. */
const slowestShown = 30;

/**
 * Mocha's `spec` reporter, which also names the specs that failed at first, with the error, and what the slowest spec
 * files took, hooks included. It writes what the run came to, `{"passed":12,"failed":0}`, into the file that
 * `$ISTHMUS_TEST_SUMMARY` names. Failing hooks count as failed, as in mocha's own summary. CommonJS, because mocha
 * loads reporters with `require`.
 */
module.exports = class SummaryReporter extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const secondsOf = new Map();
    // Of hooks and tests themselves: with several processes, theirs come in batches when a file is through.
    const charge = ({ file, duration = 0 }) => {
      // The root hooks belong to no spec file that could be made faster.
      if (file !== undefined) secondsOf.set(file, (secondsOf.get(file) ?? 0) + duration / 1000);
    };
    const retried = [];
    runner.on(EVENT_TEST_RETRY, (test, error) => retried.push({ title: test.fullTitle(), error }));
    runner.on(EVENT_TEST_END, charge);
    runner.on(EVENT_HOOK_END, charge);
    runner.once(EVENT_RUN_END, () => {
      if (retried.length > 0) showRetried(retried);
      if (secondsOf.size > slowestShown) showSlowest(secondsOf);
      const path = process.env.ISTHMUS_TEST_SUMMARY;
      if (path === undefined) return;
      writeFileSync(path, `${JSON.stringify({ passed: this.stats.passes, failed: this.stats.failures })}\n`);
    });
  }
};

function showRetried(retried) {
  console.log('  failed at first, and ran once more:');
  for (const { title, error } of retried) console.log(`  ${title}\n      ${error?.stack ?? error?.message ?? error}`);
  console.log();
}

function showSlowest(secondsOf) {
  const slowest = [...secondsOf].sort(([, a], [, b]) => b - a).slice(0, slowestShown);
  console.log('  slowest files:');
  for (const [file, seconds] of slowest) {
    console.log(`  ${seconds.toFixed(1).padStart(7)} s  ${relative(process.cwd(), file)}`);
  }
  console.log();
}
