const { writeFileSync } = require('node:fs');
const Mocha = require('mocha');

/**
 * Mocha's `spec` reporter, which also writes what the run came to, `{"passed":12,"failed":0}`, into the file that
 * `$ISTHMUS_TEST_SUMMARY` names. Failing hooks count as failed, as in mocha's own summary. CommonJS, because mocha
 * loads reporters with `require`.
 */
module.exports = class SummaryReporter extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const path = process.env.ISTHMUS_TEST_SUMMARY;
    if (path === undefined) return;
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      writeFileSync(path, `${JSON.stringify({ passed: this.stats.passes, failed: this.stats.failures })}\n`);
    });
  }
};
