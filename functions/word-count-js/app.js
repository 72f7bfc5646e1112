// Counts the words of `{"text": "…"}`, as a component that componentize-js makes.
export function handle(event) {
  const { text } = JSON.parse(new TextDecoder().decode(event));
  if (text === undefined) throw "not a text";
  const words = text.split(/\s+/).filter(Boolean).length;
  console.log(`a text of ${words} words`);
  return new TextEncoder().encode(JSON.stringify({ words }));
}
