import { expect } from 'chai';
import { basicAuthorization, credentialsOf, parseHttpUrl, stripUserinfo } from '../../lib/http/url.js';

describe('URLs with credentials', () => {
  it('lose user and password for logs, and nothing else', () => {
    expect(stripUserinfo('https://user:p%40ss@cc.example.com:9022/a@b?c=d@e')).to.equal(
      'https://cc.example.com:9022/a@b?c=d@e',
    );
    expect(stripUserinfo('http://cc.example.com/x')).to.equal('http://cc.example.com/x');
  });

  it('lose them even when they do not parse', () => {
    expect(stripUserinfo('http://user:secret@:bad:port/x')).to.equal('http://:bad:port/x');
    expect(stripUserinfo('http://a:b@c@host/x')).to.equal('http://host/x');
    expect(stripUserinfo('http://user:sec/ret?@host/x')).to.equal('http://host/x');
  });

  it('give their percent-decoded user and password', () => {
    expect(credentialsOf(new URL('http://us%3Aer:s%40crét@h/'))).to.deep.equal({ user: 'us:er', password: 's@crét' });
    expect(credentialsOf(new URL('http://user:50%@h/'))).to.deep.equal({ user: 'user', password: '50%' });
    expect(credentialsOf(new URL('http://h/'))).to.equal(undefined);
  });

  it('become a basic authorization', () => {
    expect(basicAuthorization({ user: 'Aladdin', password: 'open sesame' })).to.equal(
      'Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==',
    );
  });

  it('are refused unless they are http or https, without telling the password', () => {
    for (const text of ['ftp://u:secret@h/x', 'not a url', '', 'file:///etc/passwd', 'http://u:secret@:x']) {
      expect(() => parseHttpUrl(text))
        .to.throw(TypeError, 'is no http or https URL')
        .with.property('message')
        .that.does.not.include('secret');
    }
    expect(parseHttpUrl('https://h/x').host).to.equal('h');
  });
});
