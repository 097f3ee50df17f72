/** Mocha in the virtual machine: like `.mocharc.cjs`, for files that are compiled already. */
const { import: _loader, spec: _all, ...common } = require('../../.mocharc.cjs');

module.exports = { ...common, require: ['spec/support/hooks.js'], timeout: 120_000, slow: 20_000 };
