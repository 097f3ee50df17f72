import { expect } from 'chai';
import { applicationsOf, inheritDocument, placeDocument } from '../../../lib/cli/manifest/merge.js';
import { parseManifest } from '../../../lib/cli/manifest/parse.js';

const place = (text: string, directory = '/here') => placeDocument(parseManifest('m.yml', text).document, directory);

describe('a manifest of several parts', () => {
  it('gives every application what stands at the top, below its own', () => {
    const document = place(`
memory: 64M
env: {A: 1, B: 1}
services: [log]
applications:
- {name: one, env: {B: 2}, services: [db]}
- {name: two, memory: 32M}
`);
    expect(applicationsOf(document)).to.deep.equal([
      { name: 'one', memory: 64, env: { A: '1', B: '2' }, services: ['log', 'db'] },
      { name: 'two', memory: 32, env: { A: '1', B: '1' }, services: ['log'] },
    ]);
  });

  it('is one application without a name when it lists none', () => {
    expect(applicationsOf(place('memory: 64M'))).to.deep.equal([{ memory: 64 }]);
    expect(applicationsOf(place('applications: []'))).to.deep.equal([]);
  });

  it('takes paths from where its file lies', () => {
    expect(applicationsOf(place('applications: [{name: a, path: app}, {name: b, path: /abs}]'))).to.deep.equal([
      { name: 'a', path: '/here/app' },
      { name: 'b', path: '/abs' },
    ]);
  });

  it('goes before what it inherits, joins lists, and makes one of applications with the same name', () => {
    const parent = place(
      'domain: a.com\nmemory: 1G\napplications: [{name: base, path: p}, {name: both, hosts: [x]}]',
      '/up',
    );
    const child = place('memory: 2G\napplications: [{name: new}, {name: both, hosts: [y, x]}]');
    expect(applicationsOf(inheritDocument(parent, child))).to.deep.equal([
      { domain: 'a.com', memory: 2048, name: 'base', path: '/up/p' },
      { domain: 'a.com', memory: 2048, name: 'both', hosts: ['x', 'y'] },
      { domain: 'a.com', memory: 2048, name: 'new' },
    ]);
  });
});
