// The tools of the plugin: functions from inputs to outputs. What a client sees of them is in plugin.yaml.

export function count_words({ text }) {
  return {
    words: text.split(/\s+/).filter(Boolean).length,
    lines: text === "" ? 0 : text.replace(/\n$/, "").split("\n").length,
    characters: [...text].length,
  };
}
