import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ContentTypes, sniffContentType } from '../../../lib/dea/files/content-type.js';

describe('Content types', () => {
  describe('by name', () => {
    for (const [name, type] of [
      ['/logs/stdout.log', 'text/plain; charset=utf-8'],
      ['/a.b/README.TXT', 'text/plain; charset=utf-8'],
      ['index.html', 'text/html; charset=utf-8'],
      ['.json', 'application/json'],
      ['a.tar.gz.json', 'application/json'],
      ['/a.json/file', undefined],
      ['Makefile', undefined],
      ['dot.', undefined],
      ['x.unheard-of', undefined],
    ] as const) {
      it(`${name} is ${type ?? 'unknown'}`, () => {
        expect(new ContentTypes().ofName(name)).to.equal(type);
      });
    }

    it('are those of the host where it has a table', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'types-'));
      try {
        const [first, second] = [join(directory, 'mime.types'), join(directory, 'more.types')];
        await writeFile(first, '# comment\napplication/json\tjson js # not this\ntext/markdown md\n\naudio/none\n');
        await writeFile(second, 'text/x-json json\n');
        const types = await ContentTypes.load([first, join(directory, 'missing'), second]);
        expect(types.ofName('a.json')).to.equal('text/x-json; charset=utf-8');
        expect(types.ofName('a.js')).to.equal('application/json');
        expect(types.ofName('a.md')).to.equal('text/markdown; charset=utf-8');
        expect(types.ofName('a.this')).to.equal(undefined);
      } finally {
        await rm(directory, { recursive: true });
      }
    });
  });

  describe('by content', () => {
    for (const [content, type] of [
      ['', 'text/plain; charset=utf-8'],
      ['-----> Downloaded app package (4.0K)\n', 'text/plain; charset=utf-8'],
      ['\x1b[32mgreen\x1b[0m\n', 'text/plain; charset=utf-8'],
      ['Grüße', 'text/plain; charset=utf-8'],
      ['\0\0\0\0', 'application/octet-stream'],
      ['text with a \x01 in it', 'application/octet-stream'],
      [' \n<!doctype html><p>', 'text/html; charset=utf-8'],
      ['<hTML >', 'text/html; charset=utf-8'],
      ['<htmlish>', 'text/plain; charset=utf-8'],
      ['<?xml version="1.0"?>', 'text/xml; charset=utf-8'],
      ['%PDF-1.4', 'application/pdf'],
      [Buffer.from('89504e470d0a1a0a00', 'hex'), 'image/png'],
      [Buffer.from('ffd8ffe0', 'hex'), 'image/jpeg'],
      ['GIF89a...', 'image/gif'],
      ['RIFF....WEBPVP8 ', 'image/webp'],
      [Buffer.from('1f8b0800', 'hex'), 'application/x-gzip'],
      ['PK\x03\x04', 'application/zip'],
      [Buffer.from('0000001866747970697363000000000061766331', 'hex'), 'application/octet-stream'],
      [Buffer.from('00000018667479706d7034320000000069736f6d', 'hex'), 'video/mp4'],
      [Buffer.from('fffe4100', 'hex'), 'text/plain; charset=utf-16le'],
    ] as const) {
      it(`${JSON.stringify(Buffer.from(content).toString('latin1'))} is ${type}`, () => {
        expect(sniffContentType(Buffer.from(content))).to.equal(type);
      });
    }

    it('looks at the first 512 bytes only', () => {
      expect(sniffContentType(Buffer.from(`${'x'.repeat(512)}\0`))).to.equal('text/plain; charset=utf-8');
      expect(sniffContentType(Buffer.from(`${'x'.repeat(511)}\0`))).to.equal('application/octet-stream');
    });
  });
});
