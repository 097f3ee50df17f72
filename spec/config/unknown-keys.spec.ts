import { expect } from 'chai';
import { z } from 'zod';
import { unknownKeys } from '../../lib/config/unknown-keys.js';

const schema = z.object({
  name: z.string(),
  section: z.object({ port: z.int(), host: z.string().optional() }).prefault({ port: 1 }),
  list: z.array(z.union([z.string(), z.object({ path: z.string() })])).default([]),
  anything: z.record(z.string(), z.unknown()).optional(),
  computed: z.preprocess((value) => value, z.object({ inner: z.string() }).optional()),
});

describe('unknownKeys', () => {
  const paths = (document: unknown) => unknownKeys(document, schema).map(({ path }) => path);

  it('knows the keys of sections, lists, choices and computed sections', () => {
    const document = {
      name: '',
      section: { port: 1, host: 'x' },
      list: ['a', { path: '/' }],
      anything: { goes: 1 },
      computed: { inner: '' },
    };
    expect(unknownKeys(document, schema)).to.deep.equal([]);
  });

  it('tells unknown ones at any depth, with their full path', () => {
    expect(
      paths({ other: 1, section: { prot: 1 }, list: [{ path: '/', z: 1 }], computed: { outer: 1 } }),
    ).to.deep.equal(['other', 'section.prot', 'list[0].z', 'computed.outer']);
  });

  it('suggests the nearest key when it is near', () => {
    expect(unknownKeys({ nmae: 1, Name: 1, nothing_like_it: 1 }, schema)).to.deep.equal([
      { path: 'nmae' },
      { path: 'Name', suggestion: 'name' },
      { path: 'nothing_like_it' },
    ]);
    expect(unknownKeys({ section: { hots: 1, hosts: 1 } }, schema)[1]).to.deep.equal({
      path: 'section.hosts',
      suggestion: 'host',
    });
  });

  it('is not led astray by names that objects have anyway', () => {
    expect(paths(JSON.parse('{"constructor":1,"__proto__":2,"toString":3}'))).to.have.lengthOf(3);
  });

  it('takes what is no mapping for nothing to look at', () => {
    for (const document of [null, 1, 'x', [], [{ name: 1 }]]) expect(paths(document)).to.deep.equal([]);
  });
});
