/** A text is no JSON; in the words of Go's decoder, which clients know. */
export class JsonSyntaxError extends Error {}

/** What a byte did to the value: `complete`: it was the last one; `behind`: the value, a number, ended before it. */
type Progress = 'inside' | 'complete' | 'behind';

type State =
  | ('value' | 'first element' | 'first key' | 'key' | 'colon' | 'after value')
  | ('string' | 'escape' | 'hexadecimal' | 'literal')
  | ('minus' | 'zero' | 'integer' | 'point' | 'fraction' | 'exponent' | 'exponent sign' | 'exponent digits');

const maximumDepth = 10_000;
const whitespace = ' \t\r\n';
const literals: Record<string, string> = { t: 'true', f: 'false', n: 'null' };
const numbersMayEndIn: State[] = ['zero', 'integer', 'fraction', 'exponent digits'];

/**
 * Finds the end of one JSON value in a stream of bytes, and the first byte that cannot belong to one, as Go's decoder
 * does. Make a new one for each value.
 */
export class JsonScanner {
  #state: State = 'value';
  /** The objects and arrays around, outermost first. */
  readonly #around: ('object' | 'array')[] = [];
  /** Whether the string being read is a key. */
  #isKey = false;
  #literal = '';
  /** Characters of the literal, or digits of the escape, that have come. */
  #count = 0;
  #hasBegun = false;

  /**
   * Reads the bytes from `start` on; gives the place behind the value's last byte, undefined when more must come.
   *
   * @throws JsonSyntaxError
   */
  scan(bytes: Buffer, start = 0): number | undefined {
    for (let index = start; index < bytes.length; index += 1) {
      // Most of what is read is text.
      if (this.#state === 'string') {
        while (index < bytes.length && isPlain(bytes[index]!)) index += 1;
        if (index === bytes.length) return undefined;
      }
      const progress = this.#push(bytes[index]!);
      if (progress === 'complete') return index + 1;
      if (progress === 'behind') return index;
    }
    return undefined;
  }

  /** Whether anything but white space has come. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  #push(byte: number): Progress {
    const char = String.fromCharCode(byte);
    if (isWhitespace(char) && this.#skipsWhitespace) return 'inside';
    this.#hasBegun = true;
    switch (this.#state) {
      case 'value':
        return this.#beginValue(char);
      case 'first element':
        return char === ']' ? this.#close() : this.#beginValue(char);
      case 'first key':
        return char === '}' ? this.#close() : this.#beginKey(char);
      case 'key':
        return this.#beginKey(char);
      case 'colon':
        if (char !== ':') throw unexpected(char, 'after object key');
        return this.#go('value');
      case 'after value':
        return this.#afterValue(char);
      case 'string':
        return this.#inString(char, byte);
      case 'escape':
        if (char === 'u') {
          this.#count = 0;
          return this.#go('hexadecimal');
        }
        if (!'bfnrt\\/"'.includes(char)) throw unexpected(char, 'in string escape code');
        return this.#go('string');
      case 'hexadecimal':
        if (!/[0-9a-fA-F]/.test(char)) throw unexpected(char, 'in \\u hexadecimal character escape');
        this.#count += 1;
        return this.#go(this.#count === 4 ? 'string' : 'hexadecimal');
      case 'literal':
        return this.#inLiteral(char);
      default:
        return this.#inNumber(char);
    }
  }

  /**
   * No byte follows.
   *
   * @throws JsonSyntaxError unless the value is complete
   */
  finish(): void {
    if (this.#around.length === 0 && numbersMayEndIn.includes(this.#state)) return;
    throw new JsonSyntaxError(this.#hasBegun ? 'unexpected EOF' : 'EOF');
  }

  get #skipsWhitespace(): boolean {
    return ['value', 'first element', 'first key', 'key', 'colon', 'after value'].includes(this.#state);
  }

  #go(state: State): Progress {
    this.#state = state;
    return 'inside';
  }

  #beginValue(char: string): Progress {
    if (char === '{' || char === '[') {
      if (this.#around.length === maximumDepth) throw new JsonSyntaxError('exceeded max depth');
      this.#around.push(char === '{' ? 'object' : 'array');
      return this.#go(char === '{' ? 'first key' : 'first element');
    }
    if (char === '"') {
      this.#isKey = false;
      return this.#go('string');
    }
    if (char === '-') return this.#go('minus');
    if (char === '0') return this.#go('zero');
    if (isDigit(char)) return this.#go('integer');
    const literal = literals[char];
    if (literal === undefined) throw unexpected(char, 'looking for beginning of value');
    this.#literal = literal;
    this.#count = 1;
    return this.#go('literal');
  }

  #beginKey(char: string): Progress {
    if (char !== '"') throw unexpected(char, 'looking for beginning of object key string');
    this.#isKey = true;
    return this.#go('string');
  }

  #inString(char: string, byte: number): Progress {
    if (char === '\\') return this.#go('escape');
    if (byte < 0x20) throw unexpected(char, 'in string literal');
    if (char !== '"') return 'inside';
    return this.#isKey ? this.#go('colon') : this.#endValue();
  }

  #inLiteral(char: string): Progress {
    const expected = this.#literal[this.#count]!;
    if (char !== expected) throw unexpected(char, `in literal ${this.#literal} (expecting '${expected}')`);
    this.#count += 1;
    return this.#count === this.#literal.length ? this.#endValue() : 'inside';
  }

  #inNumber(char: string): Progress {
    const state = this.#state;
    if (isDigit(char)) {
      if (state === 'minus') return this.#go(char === '0' ? 'zero' : 'integer');
      if (state === 'point') return this.#go('fraction');
      if (state === 'exponent' || state === 'exponent sign') return this.#go('exponent digits');
      if (state !== 'zero') return 'inside';
    }
    if (char === '.' && (state === 'zero' || state === 'integer')) return this.#go('point');
    const mayHaveExponent = state === 'zero' || state === 'integer' || state === 'fraction';
    if ((char === 'e' || char === 'E') && mayHaveExponent) return this.#go('exponent');
    if ((char === '+' || char === '-') && state === 'exponent') return this.#go('exponent sign');
    if (state === 'minus') throw unexpected(char, 'in numeric literal');
    if (state === 'point') throw unexpected(char, 'after decimal point in numeric literal');
    if (!numbersMayEndIn.includes(state)) throw unexpected(char, 'in exponent of numeric literal');
    if (this.#around.length === 0) return 'behind';
    this.#state = 'after value';
    return isWhitespace(char) ? 'inside' : this.#afterValue(char);
  }

  #afterValue(char: string): Progress {
    if (this.#around.at(-1) === 'object') {
      if (char === ',') return this.#go('key');
      if (char === '}') return this.#close();
      throw unexpected(char, 'after object key:value pair');
    }
    if (char === ',') return this.#go('value');
    if (char === ']') return this.#close();
    throw unexpected(char, 'after array element');
  }

  #close(): Progress {
    this.#around.pop();
    return this.#endValue();
  }

  #endValue(): Progress {
    if (this.#around.length === 0) return 'complete';
    return this.#go('after value');
  }
}

/** Whether it stands for itself in a string. */
function isPlain(byte: number): boolean {
  return byte >= 0x20 && byte !== 0x22 && byte !== 0x5c;
}

function isWhitespace(char: string): boolean {
  return whitespace.includes(char);
}

function isDigit(char: string): boolean {
  return char >= '0' && char <= '9';
}

function unexpected(char: string, where: string): JsonSyntaxError {
  const quoted = char === "'" ? "\\'" : char === '"' ? char : JSON.stringify(char).slice(1, -1);
  return new JsonSyntaxError(`invalid character '${quoted}' ${where}`);
}
