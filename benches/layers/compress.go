// Compresses stdin to stdout as the builders that are written in Go do.
//
//	compress gzip   compress/gzip at its default level: BuildKit and containerd
//	compress zstd   klauspost/compress at its default level: BuildKit's compression=zstd
package main

import (
	"compress/gzip"
	"io"
	"log"
	"os"

	"github.com/klauspost/compress/zstd"
)

func main() {
	var writer io.WriteCloser
	var err error
	switch os.Args[1] {
	case "gzip":
		writer, err = gzip.NewWriterLevel(os.Stdout, gzip.DefaultCompression)
	case "zstd":
		writer, err = zstd.NewWriter(os.Stdout)
	default:
		log.Fatalf("no such compressor: %s", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
	if _, err = io.CopyBuffer(writer, os.Stdin, make([]byte, 1<<20)); err != nil {
		log.Fatal(err)
	}
	if err = writer.Close(); err != nil {
		log.Fatal(err)
	}
}
