// Package layering holds no code of the product. Its tests read the source of
// the whole module and assert what no compiler does: that imports point
// downwards only, that each library is used where it belongs, and the rules of the house
// (no unfinished work, no sleeping tests, no paths of one machine).
package layering
