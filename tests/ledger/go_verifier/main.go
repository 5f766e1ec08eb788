// Verifies a whole glassgate log with Go's own transparency log packages, and nothing of ours:
// verifier <verifier key> <url of the log>. Prints the checkpoint's size, or what is wrong.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type reader string // the log's address

func (url reader) Height() int                          { return 8 }
func (url reader) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (url reader) ReadTiles(tiles []tlog.Tile) (all [][]byte, err error) {
	for _, tile := range tiles {
		all = append(all, url.get(strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
	}
	return all, nil
}

func (url reader) get(path string) []byte {
	response, err := http.Get(string(url) + "/" + path)
	check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(err)
	if response.StatusCode != 200 {
		check(fmt.Errorf("%s: %s", path, response.Status))
	}
	return body
}

func check(err error) {
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

func main() {
	key, err := note.NewVerifier(os.Args[1])
	check(err)
	log := reader(os.Args[2])
	checkpoint, err := note.Open(log.get("checkpoint"), note.VerifierList(key))
	check(err)
	var size int64
	var root tlog.Hash
	lines := strings.Split(checkpoint.Text, "\n")
	if lines[0] != key.Name() {
		check(fmt.Errorf("the checkpoint is of %s", lines[0]))
	}
	fmt.Sscan(lines[1], &size)
	root, err = tlog.ParseHash(lines[2])
	check(err)
	tree := tlog.Tree{N: size, Hash: root}
	hashes := tlog.TileHashReader(tree, log)
	var bundle []byte
	for i := int64(0); i < size; i++ {
		if i%256 == 0 {
			width := 256
			if size-i < 256 {
				width = int(size - i)
			}
			tile := tlog.Tile{H: 8, L: -1, N: i / 256, W: width}
			bundle = log.get(strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1))
		}
		length := 2 + int(binary.BigEndian.Uint16(bundle))
		proof, err := tlog.ProveRecord(size, i, hashes)
		check(err)
		if err = tlog.CheckRecord(proof, size, root, i, tlog.RecordHash(bundle[2:length])); err != nil {
			check(fmt.Errorf("entry %d: %w", i, err))
		}
		bundle = bundle[length:]
	}
	fmt.Println("verified", size)
}
