// What a browser keeps for us. One that was told to keep nothing throws: then it lasts as long as the page.
function kept(name) {
  try {
    window[name].getItem("");
    return window[name];
  } catch {
    const found = new Map();
    return {
      getItem: (key) => found.get(key) ?? null,
      setItem: (key, value) => found.set(key, value),
      removeItem: (key) => found.delete(key),
      clear: () => found.clear(),
    };
  }
}

export const forGood = kept("localStorage");
export const forTab = kept("sessionStorage");
