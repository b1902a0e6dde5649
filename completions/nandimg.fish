# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_nandimg_global_optspecs
    string join \n json q/quiet v/verbose no-progress color= h/help V/version
end

function __fish_nandimg_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_nandimg_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_nandimg_using_subcommand
    set -l cmd (__fish_nandimg_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c nandimg -n "__fish_nandimg_needs_command" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_needs_command" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_needs_command" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_needs_command" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_needs_command" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_needs_command" -s V -l version -d 'Print version'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "format" -d 'Make a new image, or put a fresh volume on an existing one'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "mount-check" -d 'Say whether and how an image would mount'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "read" -d 'Copy logical bytes out of an image'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "write" -d 'Copy bytes into an image'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "fsck" -d 'Check everything; with --repair, mend what can be mended without guessing'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "wear-report" -d 'Show erase counts, bad blocks and remaining life'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "inject-bad" -d 'Make blocks bad, now or later, or flip stored bits'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "info" -d 'Say what an image is: content, geometry, layout and ECC, with the evidence'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "convert" -d 'Make an image of another layout, or for another chip'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "completions" -d 'Print a completion script, or the manual page'
complete -c nandimg -n "__fish_nandimg_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l chip -d 'A chip by part number ("help" lists them)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l page-size -d 'Data bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l spare-size -d 'Spare (out-of-band) bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l block-size -d 'Data bytes an erase block, spare not counted' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l blocks -d 'Erase blocks of the volume' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l first-block -d 'Block of the image at which the volume starts' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l max-erase-cycles -d 'Rated program/erase cycles of a block' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l layout -d 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l chip-file -d 'The chip file, if not IMAGE.chip.json; "none" for none' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l mapping -d 'Which flash translation layer' -r -f -a "page\t'The page-mapped format'
block\t'The block-mapped format of shodh-redb'"
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l spare-percent -d 'Room for what the volume itself needs, in percent of the good blocks; with --mapping page [default: 7]' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l bad-blocks -d 'Blocks to mark as bad, as a factory does (3,77,100-103)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l force -d 'Format a file that holds something else than 0xFF'
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l reset-wear -d 'Begin all erase counts at 0 instead of carrying over those that can be read'
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l dry-run -d 'Say everything and write nothing'
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_using_subcommand format" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l chip -d 'A chip by part number ("help" lists them)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l page-size -d 'Data bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l spare-size -d 'Spare (out-of-band) bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l block-size -d 'Data bytes an erase block, spare not counted' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l blocks -d 'Erase blocks of the volume' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l first-block -d 'Block of the image at which the volume starts' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l max-erase-cycles -d 'Rated program/erase cycles of a block' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l layout -d 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l chip-file -d 'The chip file, if not IMAGE.chip.json; "none" for none' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l sequence -d 'As it would mount from the metadata copy with this sequence number' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l hash -d 'Also print the SHA-256 of the logical content'
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_using_subcommand mount-check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l chip -d 'A chip by part number ("help" lists them)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l page-size -d 'Data bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l spare-size -d 'Spare (out-of-band) bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l block-size -d 'Data bytes an erase block, spare not counted' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l blocks -d 'Erase blocks of the volume' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l first-block -d 'Block of the image at which the volume starts' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l max-erase-cycles -d 'Rated program/erase cycles of a block' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l layout -d 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l chip-file -d 'The chip file, if not IMAGE.chip.json; "none" for none' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l offset -d 'First logical byte' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l length -d 'How many bytes; to the end of the volume if left out' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -s o -l out -d 'Where to; standard output if left out or "-"' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l sequence -d 'From the metadata copy with this sequence number' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l skip-unreadable -d 'Put zeros where a place cannot be read, and go on'
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l force -d 'Print to a terminal all the same'
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_using_subcommand read" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l chip -d 'A chip by part number ("help" lists them)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l page-size -d 'Data bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l spare-size -d 'Spare (out-of-band) bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l block-size -d 'Data bytes an erase block, spare not counted' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l blocks -d 'Erase blocks of the volume' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l first-block -d 'Block of the image at which the volume starts' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l max-erase-cycles -d 'Rated program/erase cycles of a block' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l layout -d 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l chip-file -d 'The chip file, if not IMAGE.chip.json; "none" for none' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l offset -d 'First logical byte' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -s i -l in -d 'Where from; standard input if left out or "-"' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l wear-interval -d 'Erases between two checks of static wear levelling, if not as the volume says (256 if it does not)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l wear-threshold -d 'Difference in erase counts at which static wear levelling acts, if not as the volume says (100 if it does not)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l truncate -d 'Let the volume end where this write ends'
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_using_subcommand write" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l chip -d 'A chip by part number ("help" lists them)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l page-size -d 'Data bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l spare-size -d 'Spare (out-of-band) bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l block-size -d 'Data bytes an erase block, spare not counted' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l blocks -d 'Erase blocks of the volume' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l first-block -d 'Block of the image at which the volume starts' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l max-erase-cycles -d 'Rated program/erase cycles of a block' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l layout -d 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l chip-file -d 'The chip file, if not IMAGE.chip.json; "none" for none' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l undo -d 'Save in FILE, which must not exist, what is needed to take the repair back' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l undo-from -d 'Take back the repair whose undo file this is' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l repair -d 'Mend what can be mended without guessing about user data'
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_using_subcommand fsck" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l chip -d 'A chip by part number ("help" lists them)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l page-size -d 'Data bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l spare-size -d 'Spare (out-of-band) bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l block-size -d 'Data bytes an erase block, spare not counted' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l blocks -d 'Erase blocks of the volume' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l first-block -d 'Block of the image at which the volume starts' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l max-erase-cycles -d 'Rated program/erase cycles of a block' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l layout -d 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l chip-file -d 'The chip file, if not IMAGE.chip.json; "none" for none' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_using_subcommand wear-report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l chip -d 'A chip by part number ("help" lists them)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l page-size -d 'Data bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l spare-size -d 'Spare (out-of-band) bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l block-size -d 'Data bytes an erase block, spare not counted' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l blocks -d 'Erase blocks of the volume' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l first-block -d 'Block of the image at which the volume starts' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l max-erase-cycles -d 'Rated program/erase cycles of a block' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l layout -d 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l chip-file -d 'The chip file, if not IMAGE.chip.json; "none" for none' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l block -d 'These blocks (3,77,100-103)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l count -d 'This many of the good blocks, chosen by the seed' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l seed -d 'The seed of a choice' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l when -d 'When they become bad: at once, or when they are next erased, programmed or read' -r -f -a "now\t''
erase\t''
program\t''
read\t''"
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l after -d 'How many erases or programs still succeed' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l flip -d 'Flip this stored bit of a page (bit = byte x 8 + bit, least significant first, spare bytes after the data); one that is named twice, or also chosen by --flip-bits, flips once' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l flip-bits -d 'Flip this many stored bits, of the blocks given or of the whole volume; t, t-1, t+1 count beside what the ECC corrects' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l each -d 'Flip so many bits in each of these' -r -f -a "all\t'All blocks together'
block\t'Each block'
page\t'Each page'
step\t'Each step of ECC'"
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l list -d 'Show the latent faults'
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l clear-faults -d 'Remove all latent faults'
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_using_subcommand inject-bad" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l chip -d 'A chip by part number ("help" lists them)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l page-size -d 'Data bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l spare-size -d 'Spare (out-of-band) bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l block-size -d 'Data bytes an erase block, spare not counted' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l blocks -d 'Erase blocks of the volume' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l first-block -d 'Block of the image at which the volume starts' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l max-erase-cycles -d 'Rated program/erase cycles of a block' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l layout -d 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l chip-file -d 'The chip file, if not IMAGE.chip.json; "none" for none' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_using_subcommand info" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l chip -d 'A chip by part number ("help" lists them)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l page-size -d 'Data bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l spare-size -d 'Spare (out-of-band) bytes a page' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l block-size -d 'Data bytes an erase block, spare not counted' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l blocks -d 'Erase blocks of the volume' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l first-block -d 'Block of the image at which the volume starts' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l max-erase-cycles -d 'Rated program/erase cycles of a block' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l layout -d 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l chip-file -d 'The chip file, if not IMAGE.chip.json; "none" for none' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l to-layout -d 'How the pages of DST are to be laid out; as those of SRC if left out' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l to-spare-size -d 'Spare bytes a page of DST; if left out, as in SRC, or as the chip has it' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l bb -d 'What to make of blocks that are marked bad [default: dumpbad]' -r -f -a "padbad\t'FF instead of what they hold; their marks are lost'
dumpbad\t'What they hold, marks included'
skipbad\t'Leave them out; what follows moves up. What would come to lie on a block of --bad-blocks goes to the next good one, as with nandwrite; --blocks or --chip say how many blocks DST then has'"
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l mapping -d 'Which flash translation layer; with --logical [default: that of SRC]' -r -f -a "page\t'The page-mapped format'
block\t'The block-mapped format of shodh-redb'"
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l spare-percent -d 'Room for what the volume itself needs, in percent of the good blocks; with --logical and page mapping [default: 7]' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l bad-blocks -d 'Blocks that are bad on the chip that DST is for (3,77,100-103). Without --logical: with skipbad SRC is laid around them, else they are bad in SRC, too' -r
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l bad-map -d 'The same, from a file: JSON, what nanddump or mtdinfo printed, or an image of the chip, whose Linux bad-block table counts, or its marks. With skipbad an image needs --blocks or --chip, by which its size is known' -r -F
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l logical -d 'Build a fresh volume with the same content'
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l skip-unreadable -d 'Go on where a page cannot be read: it keeps what is stored, with --logical it is zeros'
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l force -d 'Replace DST if it exists'
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_using_subcommand convert" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_using_subcommand completions" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nandimg -n "__fish_nandimg_using_subcommand completions" -l json -d 'Print exactly one JSON object on standard output'
complete -c nandimg -n "__fish_nandimg_using_subcommand completions" -s q -l quiet -d 'Print no status and no progress, only results, warnings and errors'
complete -c nandimg -n "__fish_nandimg_using_subcommand completions" -s v -l verbose -d 'Say more: where each part of the geometry comes from'
complete -c nandimg -n "__fish_nandimg_using_subcommand completions" -l no-progress -d 'Show no progress bar'
complete -c nandimg -n "__fish_nandimg_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "format" -d 'Make a new image, or put a fresh volume on an existing one'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "mount-check" -d 'Say whether and how an image would mount'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "read" -d 'Copy logical bytes out of an image'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "write" -d 'Copy bytes into an image'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "fsck" -d 'Check everything; with --repair, mend what can be mended without guessing'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "wear-report" -d 'Show erase counts, bad blocks and remaining life'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "inject-bad" -d 'Make blocks bad, now or later, or flip stored bits'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "info" -d 'Say what an image is: content, geometry, layout and ECC, with the evidence'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "convert" -d 'Make an image of another layout, or for another chip'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "completions" -d 'Print a completion script, or the manual page'
complete -c nandimg -n "__fish_nandimg_using_subcommand help; and not __fish_seen_subcommand_from format mount-check read write fsck wear-report inject-bad info convert completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
