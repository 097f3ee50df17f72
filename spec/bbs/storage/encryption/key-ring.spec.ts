import { createDecipheriv, createHash } from 'node:crypto';
import { expect } from 'chai';
import { VolumePlacement } from '../../../../lib/bbs/messages/models.js';
import { openMessage, sealJson, sealMessage } from '../../../../lib/bbs/storage/encryption/envelope.js';
import { KeyRing, Undecodable } from '../../../../lib/bbs/storage/encryption/key-ring.js';

const keys = new KeyRing({ activeLabel: 'new', passphrases: { old: 'old passphrase', new: 'new passphrase' } });
const oldKeys = new KeyRing({ activeLabel: 'old', passphrases: { old: 'old passphrase' } });

/** By the words of docs/protocol/bbs.md §15 alone. */
function openedByHand(sealed: string, passphrase: string): { label: string; plaintext: Buffer } {
  expect(sealed.slice(0, 2)).to.equal('02');
  const bytes = Buffer.from(sealed.slice(2), 'base64');
  const [labelEnd, tagStart] = [1 + bytes[0]!, bytes.length - 16];
  const key = createHash('sha256').update(passphrase).digest();
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(labelEnd, labelEnd + 12));
  decipher.setAuthTag(bytes.subarray(tagStart));
  const plaintext = Buffer.concat([decipher.update(bytes.subarray(labelEnd + 12, tagStart)), decipher.final()]);
  return { label: bytes.toString('utf8', 1, labelEnd), plaintext };
}

describe('KeyRing', () => {
  it('encrypts as the protocol says, with the active key and its label', () => {
    const { label, plaintext } = openedByHand(keys.seal(Buffer.from('text')), 'new passphrase');
    expect(label).to.equal('new');
    expect(plaintext.toString()).to.equal('text');
  });

  it('puts 02 00 before messages, and nothing before JSON', () => {
    const message = sealMessage(keys, VolumePlacement, VolumePlacement.create({ driverNames: ['nfs', 'nfs'] }));
    expect(openedByHand(message, 'new passphrase').plaintext.toString('hex')).to.equal('02000a036e66730a036e6673');
    const nothing = sealMessage(keys, VolumePlacement, VolumePlacement.create());
    expect(openedByHand(nothing, 'new passphrase').plaintext.toString('hex')).to.equal('0200');
    expect(openedByHand(sealJson(keys, '[]'), 'new passphrase').plaintext.toString()).to.equal('[]');
  });

  it('never encrypts two values with one nonce', () => {
    const sealed = new Set(Array.from({ length: 2000 }, () => keys.seal(Buffer.from('text')).slice(2)));
    const nonces = new Set([...sealed].map((text) => Buffer.from(text, 'base64').subarray(4, 16).toString('hex')));
    expect(nonces.size).to.equal(2000);
  });

  it('opens a value with the key that its label names', () => {
    const sealed = oldKeys.seal(Buffer.from('of the past'));
    expect(keys.labelOf(sealed)).to.equal('old');
    expect(keys.open(sealed).toString()).to.equal('of the past');
    expect(keys.open(keys.seal(Buffer.from('{}'))).toString()).to.equal('{}');
  });

  const sealed = keys.seal(Buffer.from('text'));
  const spoiled = Buffer.from(sealed.slice(2), 'base64');
  spoiled[spoiled.length - 20]! ^= 1;
  for (const [what, value] of [
    ['is empty', ''],
    ['has another prefix', `01${sealed.slice(2)}`],
    ['has no label', `02${Buffer.of(0, 1, 2).toString('base64')}`],
    [
      'has a label that no key has',
      new KeyRing({ activeLabel: 'x', passphrases: { x: 'p' } }).seal(Buffer.from('abc')),
    ],
    [
      'was encrypted with another passphrase',
      new KeyRing({ activeLabel: 'new', passphrases: { new: 'p' } }).seal(Buffer.from('abc')),
    ],
    ['was changed', `02${spoiled.toString('base64')}`],
    ['was cut', sealed.slice(0, 24)],
  ] as const) {
    it(`does not open a value that ${what}`, () => {
      expect(() => keys.open(value))
        .to.throw(Undecodable)
        .that.does.not.match(/text/);
    });
  }

  it('does not open a message with another envelope, or that is none', () => {
    for (const bytes of [[0, 0, 8, 1], [2, 1, 8, 1], [2], [2, 0, 0xff]]) {
      expect(() => openMessage(keys, VolumePlacement, keys.seal(Buffer.from(bytes)))).to.throw(Undecodable);
    }
  });

  it('names the key of the configuration that is not usable', () => {
    expect(() => new KeyRing({ activeLabel: 'a', passphrases: { b: 'x' } })).to.throw(
      'active_key_label: "a" is not among',
    );
    const long = 'x'.repeat(128);
    expect(() => new KeyRing({ activeLabel: long, passphrases: { [long]: 'x' } })).to.throw(
      'encryption_keys: the label',
    );
    expect(() => new KeyRing({ activeLabel: '', passphrases: { '': 'x' } })).to.throw('encryption_keys: the label ""');
  });
});
