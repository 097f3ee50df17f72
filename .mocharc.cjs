// Mocha adds specs named on the command line to those of its configuration; naming some must mean only those.
const namesSpecs = process.argv.slice(2).some((argument) => /\.spec\.ts$|^(\.\/)?spec\//.test(argument));

module.exports = {
  import: 'tsx',
  require: ['spec/support/hooks.ts'],
  reporter: 'spec/support/reporter.cjs',
  ...(!namesSpecs && { spec: ['spec/**/*.spec.ts'] }),
  timeout: 20000,
  slow: 2000,
  forbidOnly: true,
  // A spec that cannot run here must fail, not be skipped.
  forbidPending: true,
  // A failed hook must not keep the run from ending; processes that it leaves are found by the root hook.
  exit: true,
};
