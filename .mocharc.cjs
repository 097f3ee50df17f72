const { readdirSync } = require('node:fs');

// Mocha adds specs named on the command line to those of its configuration; naming some must mean only those.
const namesSpecs = process.argv.slice(2).some((argument) => /\.spec\.ts$|^(\.\/)?spec\//.test(argument));

module.exports = {
  import: 'tsx',
  require: ['spec/support/hooks.ts'],
  reporter: 'spec/support/reporter.cjs',
  // Much of the suite is waiting; spec/support/host-share.ts keeps its processes apart.
  ...(!namesSpecs && { spec: mixed(specFiles()), parallel: true, jobs: 2 }),
  timeout: 20000,
  // Whole cells, databases and a hundred processes share this machine, so a wait is now and then too short. A spec that
  // fails twice fails the run; one that needed its second chance is named at the end, to be looked into.
  retries: 1,
  slow: 2000,
  forbidOnly: true,
  // A spec that cannot run here must fail, not be skipped.
  forbidPending: true,
  // A failed hook must not keep the run from ending; processes that it leaves are found by the root hook.
  exit: true,
};

function specFiles() {
  const names = readdirSync(`${__dirname}/spec`, { recursive: true }).filter((name) => name.endsWith('.spec.ts'));
  return names.sort().map((name) => `spec/${name}`);
}

/** Those that wait for cells and health managers between those that keep the processor busy. */
function mixed(files) {
  const isWaiting = (file) =>
    /^spec\/(dea\/(cell|program|staging)|health-manager|mini-cc|standalone|vagrant)\//.test(file);
  const waiting = files.filter(isWaiting);
  const busy = files.filter((file) => !isWaiting(file));
  const place = (file, index, { length }) => ({ file, place: (index + 0.5) / length });
  return [...waiting.map(place), ...busy.map(place)].sort((a, b) => a.place - b.place).map(({ file }) => file);
}
