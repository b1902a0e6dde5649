
use builtin;
use str;

set edit:completion:arg-completer[nandimg] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'nandimg'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'nandimg'= {
            cand --color 'When to use colour'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand format 'Make a new image, or put a fresh volume on an existing one'
            cand mount-check 'Say whether and how an image would mount'
            cand read 'Copy logical bytes out of an image'
            cand write 'Copy bytes into an image'
            cand fsck 'Check everything; with --repair, mend what can be mended without guessing'
            cand wear-report 'Show erase counts, bad blocks and remaining life'
            cand inject-bad 'Make blocks bad, now or later, or flip stored bits'
            cand info 'Say what an image is: content, geometry, layout and ECC, with the evidence'
            cand convert 'Make an image of another layout, or for another chip'
            cand completions 'Print a completion script, or the manual page'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'nandimg;format'= {
            cand --chip 'A chip by part number ("help" lists them)'
            cand --page-size 'Data bytes a page'
            cand --spare-size 'Spare (out-of-band) bytes a page'
            cand --block-size 'Data bytes an erase block, spare not counted'
            cand --blocks 'Erase blocks of the volume'
            cand --first-block 'Block of the image at which the volume starts'
            cand --max-erase-cycles 'Rated program/erase cycles of a block'
            cand --layout 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)'
            cand --chip-file 'The chip file, if not IMAGE.chip.json; "none" for none'
            cand --mapping 'Which flash translation layer'
            cand --spare-percent 'Room for what the volume itself needs, in percent of the good blocks; with --mapping page [default: 7]'
            cand --bad-blocks 'Blocks to mark as bad, as a factory does (3,77,100-103)'
            cand --color 'When to use colour'
            cand --force 'Format a file that holds something else than 0xFF'
            cand --reset-wear 'Begin all erase counts at 0 instead of carrying over those that can be read'
            cand --dry-run 'Say everything and write nothing'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'nandimg;mount-check'= {
            cand --chip 'A chip by part number ("help" lists them)'
            cand --page-size 'Data bytes a page'
            cand --spare-size 'Spare (out-of-band) bytes a page'
            cand --block-size 'Data bytes an erase block, spare not counted'
            cand --blocks 'Erase blocks of the volume'
            cand --first-block 'Block of the image at which the volume starts'
            cand --max-erase-cycles 'Rated program/erase cycles of a block'
            cand --layout 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)'
            cand --chip-file 'The chip file, if not IMAGE.chip.json; "none" for none'
            cand --sequence 'As it would mount from the metadata copy with this sequence number'
            cand --color 'When to use colour'
            cand --hash 'Also print the SHA-256 of the logical content'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'nandimg;read'= {
            cand --chip 'A chip by part number ("help" lists them)'
            cand --page-size 'Data bytes a page'
            cand --spare-size 'Spare (out-of-band) bytes a page'
            cand --block-size 'Data bytes an erase block, spare not counted'
            cand --blocks 'Erase blocks of the volume'
            cand --first-block 'Block of the image at which the volume starts'
            cand --max-erase-cycles 'Rated program/erase cycles of a block'
            cand --layout 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)'
            cand --chip-file 'The chip file, if not IMAGE.chip.json; "none" for none'
            cand --offset 'First logical byte'
            cand --length 'How many bytes; to the end of the volume if left out'
            cand -o 'Where to; standard output if left out or "-"'
            cand --out 'Where to; standard output if left out or "-"'
            cand --sequence 'From the metadata copy with this sequence number'
            cand --color 'When to use colour'
            cand --skip-unreadable 'Put zeros where a place cannot be read, and go on'
            cand --force 'Print to a terminal all the same'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'nandimg;write'= {
            cand --chip 'A chip by part number ("help" lists them)'
            cand --page-size 'Data bytes a page'
            cand --spare-size 'Spare (out-of-band) bytes a page'
            cand --block-size 'Data bytes an erase block, spare not counted'
            cand --blocks 'Erase blocks of the volume'
            cand --first-block 'Block of the image at which the volume starts'
            cand --max-erase-cycles 'Rated program/erase cycles of a block'
            cand --layout 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)'
            cand --chip-file 'The chip file, if not IMAGE.chip.json; "none" for none'
            cand --offset 'First logical byte'
            cand -i 'Where from; standard input if left out or "-"'
            cand --in 'Where from; standard input if left out or "-"'
            cand --wear-interval 'Erases between two checks of static wear levelling, if not as the volume says (256 if it does not)'
            cand --wear-threshold 'Difference in erase counts at which static wear levelling acts, if not as the volume says (100 if it does not)'
            cand --color 'When to use colour'
            cand --truncate 'Let the volume end where this write ends'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'nandimg;fsck'= {
            cand --chip 'A chip by part number ("help" lists them)'
            cand --page-size 'Data bytes a page'
            cand --spare-size 'Spare (out-of-band) bytes a page'
            cand --block-size 'Data bytes an erase block, spare not counted'
            cand --blocks 'Erase blocks of the volume'
            cand --first-block 'Block of the image at which the volume starts'
            cand --max-erase-cycles 'Rated program/erase cycles of a block'
            cand --layout 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)'
            cand --chip-file 'The chip file, if not IMAGE.chip.json; "none" for none'
            cand --undo 'Save in FILE, which must not exist, what is needed to take the repair back'
            cand --undo-from 'Take back the repair whose undo file this is'
            cand --color 'When to use colour'
            cand --repair 'Mend what can be mended without guessing about user data'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'nandimg;wear-report'= {
            cand --chip 'A chip by part number ("help" lists them)'
            cand --page-size 'Data bytes a page'
            cand --spare-size 'Spare (out-of-band) bytes a page'
            cand --block-size 'Data bytes an erase block, spare not counted'
            cand --blocks 'Erase blocks of the volume'
            cand --first-block 'Block of the image at which the volume starts'
            cand --max-erase-cycles 'Rated program/erase cycles of a block'
            cand --layout 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)'
            cand --chip-file 'The chip file, if not IMAGE.chip.json; "none" for none'
            cand --color 'When to use colour'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'nandimg;inject-bad'= {
            cand --chip 'A chip by part number ("help" lists them)'
            cand --page-size 'Data bytes a page'
            cand --spare-size 'Spare (out-of-band) bytes a page'
            cand --block-size 'Data bytes an erase block, spare not counted'
            cand --blocks 'Erase blocks of the volume'
            cand --first-block 'Block of the image at which the volume starts'
            cand --max-erase-cycles 'Rated program/erase cycles of a block'
            cand --layout 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)'
            cand --chip-file 'The chip file, if not IMAGE.chip.json; "none" for none'
            cand --block 'These blocks (3,77,100-103)'
            cand --count 'This many of the good blocks, chosen by the seed'
            cand --seed 'The seed of a choice'
            cand --when 'When they become bad: at once, or when they are next erased, programmed or read'
            cand --after 'How many erases or programs still succeed'
            cand --flip 'Flip this stored bit of a page (bit = byte x 8 + bit, least significant first, spare bytes after the data); one that is named twice, or also chosen by --flip-bits, flips once'
            cand --flip-bits 'Flip this many stored bits, of the blocks given or of the whole volume; t, t-1, t+1 count beside what the ECC corrects'
            cand --each 'Flip so many bits in each of these'
            cand --color 'When to use colour'
            cand --list 'Show the latent faults'
            cand --clear-faults 'Remove all latent faults'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'nandimg;info'= {
            cand --chip 'A chip by part number ("help" lists them)'
            cand --page-size 'Data bytes a page'
            cand --spare-size 'Spare (out-of-band) bytes a page'
            cand --block-size 'Data bytes an erase block, spare not counted'
            cand --blocks 'Erase blocks of the volume'
            cand --first-block 'Block of the image at which the volume starts'
            cand --max-erase-cycles 'Rated program/erase cycles of a block'
            cand --layout 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)'
            cand --chip-file 'The chip file, if not IMAGE.chip.json; "none" for none'
            cand --color 'When to use colour'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'nandimg;convert'= {
            cand --chip 'A chip by part number ("help" lists them)'
            cand --page-size 'Data bytes a page'
            cand --spare-size 'Spare (out-of-band) bytes a page'
            cand --block-size 'Data bytes an erase block, spare not counted'
            cand --blocks 'Erase blocks of the volume'
            cand --first-block 'Block of the image at which the volume starts'
            cand --max-erase-cycles 'Rated program/erase cycles of a block'
            cand --layout 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)'
            cand --chip-file 'The chip file, if not IMAGE.chip.json; "none" for none'
            cand --to-layout 'How the pages of DST are to be laid out; as those of SRC if left out'
            cand --to-spare-size 'Spare bytes a page of DST; if left out, as in SRC, or as the chip has it'
            cand --bb 'What to make of blocks that are marked bad [default: dumpbad]'
            cand --mapping 'Which flash translation layer; with --logical [default: that of SRC]'
            cand --spare-percent 'Room for what the volume itself needs, in percent of the good blocks; with --logical and page mapping [default: 7]'
            cand --bad-blocks 'Blocks that are bad on the chip that DST is for (3,77,100-103). Without --logical: with skipbad SRC is laid around them, else they are bad in SRC, too'
            cand --bad-map 'The same, from a file: JSON, what nanddump or mtdinfo printed, or an image of the chip, whose Linux bad-block table counts, or its marks. With skipbad an image needs --blocks or --chip, by which its size is known'
            cand --color 'When to use colour'
            cand --logical 'Build a fresh volume with the same content'
            cand --skip-unreadable 'Go on where a page cannot be read: it keeps what is stored, with --logical it is zeros'
            cand --force 'Replace DST if it exists'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'nandimg;completions'= {
            cand --color 'When to use colour'
            cand --json 'Print exactly one JSON object on standard output'
            cand -q 'Print no status and no progress, only results, warnings and errors'
            cand --quiet 'Print no status and no progress, only results, warnings and errors'
            cand -v 'Say more: where each part of the geometry comes from'
            cand --verbose 'Say more: where each part of the geometry comes from'
            cand --no-progress 'Show no progress bar'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'nandimg;help'= {
            cand format 'Make a new image, or put a fresh volume on an existing one'
            cand mount-check 'Say whether and how an image would mount'
            cand read 'Copy logical bytes out of an image'
            cand write 'Copy bytes into an image'
            cand fsck 'Check everything; with --repair, mend what can be mended without guessing'
            cand wear-report 'Show erase counts, bad blocks and remaining life'
            cand inject-bad 'Make blocks bad, now or later, or flip stored bits'
            cand info 'Say what an image is: content, geometry, layout and ECC, with the evidence'
            cand convert 'Make an image of another layout, or for another chip'
            cand completions 'Print a completion script, or the manual page'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'nandimg;help;format'= {
        }
        &'nandimg;help;mount-check'= {
        }
        &'nandimg;help;read'= {
        }
        &'nandimg;help;write'= {
        }
        &'nandimg;help;fsck'= {
        }
        &'nandimg;help;wear-report'= {
        }
        &'nandimg;help;inject-bad'= {
        }
        &'nandimg;help;info'= {
        }
        &'nandimg;help;convert'= {
        }
        &'nandimg;help;completions'= {
        }
        &'nandimg;help;help'= {
        }
    ]
    $completions[$command]
}
