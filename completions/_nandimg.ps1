
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'nandimg' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'nandimg'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'nandimg' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('format', 'format', [CompletionResultType]::ParameterValue, 'Make a new image, or put a fresh volume on an existing one')
            [CompletionResult]::new('mount-check', 'mount-check', [CompletionResultType]::ParameterValue, 'Say whether and how an image would mount')
            [CompletionResult]::new('read', 'read', [CompletionResultType]::ParameterValue, 'Copy logical bytes out of an image')
            [CompletionResult]::new('write', 'write', [CompletionResultType]::ParameterValue, 'Copy bytes into an image')
            [CompletionResult]::new('fsck', 'fsck', [CompletionResultType]::ParameterValue, 'Check everything; with --repair, mend what can be mended without guessing')
            [CompletionResult]::new('wear-report', 'wear-report', [CompletionResultType]::ParameterValue, 'Show erase counts, bad blocks and remaining life')
            [CompletionResult]::new('inject-bad', 'inject-bad', [CompletionResultType]::ParameterValue, 'Make blocks bad, now or later, or flip stored bits')
            [CompletionResult]::new('info', 'info', [CompletionResultType]::ParameterValue, 'Say what an image is: content, geometry, layout and ECC, with the evidence')
            [CompletionResult]::new('convert', 'convert', [CompletionResultType]::ParameterValue, 'Make an image of another layout, or for another chip')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a completion script, or the manual page')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'nandimg;format' {
            [CompletionResult]::new('--chip', '--chip', [CompletionResultType]::ParameterName, 'A chip by part number ("help" lists them)')
            [CompletionResult]::new('--page-size', '--page-size', [CompletionResultType]::ParameterName, 'Data bytes a page')
            [CompletionResult]::new('--spare-size', '--spare-size', [CompletionResultType]::ParameterName, 'Spare (out-of-band) bytes a page')
            [CompletionResult]::new('--block-size', '--block-size', [CompletionResultType]::ParameterName, 'Data bytes an erase block, spare not counted')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Erase blocks of the volume')
            [CompletionResult]::new('--first-block', '--first-block', [CompletionResultType]::ParameterName, 'Block of the image at which the volume starts')
            [CompletionResult]::new('--max-erase-cycles', '--max-erase-cycles', [CompletionResultType]::ParameterName, 'Rated program/erase cycles of a block')
            [CompletionResult]::new('--layout', '--layout', [CompletionResultType]::ParameterName, 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)')
            [CompletionResult]::new('--chip-file', '--chip-file', [CompletionResultType]::ParameterName, 'The chip file, if not IMAGE.chip.json; "none" for none')
            [CompletionResult]::new('--mapping', '--mapping', [CompletionResultType]::ParameterName, 'Which flash translation layer')
            [CompletionResult]::new('--spare-percent', '--spare-percent', [CompletionResultType]::ParameterName, 'Room for what the volume itself needs, in percent of the good blocks; with --mapping page [default: 7]')
            [CompletionResult]::new('--bad-blocks', '--bad-blocks', [CompletionResultType]::ParameterName, 'Blocks to mark as bad, as a factory does (3,77,100-103)')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Format a file that holds something else than 0xFF')
            [CompletionResult]::new('--reset-wear', '--reset-wear', [CompletionResultType]::ParameterName, 'Begin all erase counts at 0 instead of carrying over those that can be read')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say everything and write nothing')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'nandimg;mount-check' {
            [CompletionResult]::new('--chip', '--chip', [CompletionResultType]::ParameterName, 'A chip by part number ("help" lists them)')
            [CompletionResult]::new('--page-size', '--page-size', [CompletionResultType]::ParameterName, 'Data bytes a page')
            [CompletionResult]::new('--spare-size', '--spare-size', [CompletionResultType]::ParameterName, 'Spare (out-of-band) bytes a page')
            [CompletionResult]::new('--block-size', '--block-size', [CompletionResultType]::ParameterName, 'Data bytes an erase block, spare not counted')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Erase blocks of the volume')
            [CompletionResult]::new('--first-block', '--first-block', [CompletionResultType]::ParameterName, 'Block of the image at which the volume starts')
            [CompletionResult]::new('--max-erase-cycles', '--max-erase-cycles', [CompletionResultType]::ParameterName, 'Rated program/erase cycles of a block')
            [CompletionResult]::new('--layout', '--layout', [CompletionResultType]::ParameterName, 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)')
            [CompletionResult]::new('--chip-file', '--chip-file', [CompletionResultType]::ParameterName, 'The chip file, if not IMAGE.chip.json; "none" for none')
            [CompletionResult]::new('--sequence', '--sequence', [CompletionResultType]::ParameterName, 'As it would mount from the metadata copy with this sequence number')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--hash', '--hash', [CompletionResultType]::ParameterName, 'Also print the SHA-256 of the logical content')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'nandimg;read' {
            [CompletionResult]::new('--chip', '--chip', [CompletionResultType]::ParameterName, 'A chip by part number ("help" lists them)')
            [CompletionResult]::new('--page-size', '--page-size', [CompletionResultType]::ParameterName, 'Data bytes a page')
            [CompletionResult]::new('--spare-size', '--spare-size', [CompletionResultType]::ParameterName, 'Spare (out-of-band) bytes a page')
            [CompletionResult]::new('--block-size', '--block-size', [CompletionResultType]::ParameterName, 'Data bytes an erase block, spare not counted')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Erase blocks of the volume')
            [CompletionResult]::new('--first-block', '--first-block', [CompletionResultType]::ParameterName, 'Block of the image at which the volume starts')
            [CompletionResult]::new('--max-erase-cycles', '--max-erase-cycles', [CompletionResultType]::ParameterName, 'Rated program/erase cycles of a block')
            [CompletionResult]::new('--layout', '--layout', [CompletionResultType]::ParameterName, 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)')
            [CompletionResult]::new('--chip-file', '--chip-file', [CompletionResultType]::ParameterName, 'The chip file, if not IMAGE.chip.json; "none" for none')
            [CompletionResult]::new('--offset', '--offset', [CompletionResultType]::ParameterName, 'First logical byte')
            [CompletionResult]::new('--length', '--length', [CompletionResultType]::ParameterName, 'How many bytes; to the end of the volume if left out')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Where to; standard output if left out or "-"')
            [CompletionResult]::new('--out', '--out', [CompletionResultType]::ParameterName, 'Where to; standard output if left out or "-"')
            [CompletionResult]::new('--sequence', '--sequence', [CompletionResultType]::ParameterName, 'From the metadata copy with this sequence number')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--skip-unreadable', '--skip-unreadable', [CompletionResultType]::ParameterName, 'Put zeros where a place cannot be read, and go on')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Print to a terminal all the same')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'nandimg;write' {
            [CompletionResult]::new('--chip', '--chip', [CompletionResultType]::ParameterName, 'A chip by part number ("help" lists them)')
            [CompletionResult]::new('--page-size', '--page-size', [CompletionResultType]::ParameterName, 'Data bytes a page')
            [CompletionResult]::new('--spare-size', '--spare-size', [CompletionResultType]::ParameterName, 'Spare (out-of-band) bytes a page')
            [CompletionResult]::new('--block-size', '--block-size', [CompletionResultType]::ParameterName, 'Data bytes an erase block, spare not counted')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Erase blocks of the volume')
            [CompletionResult]::new('--first-block', '--first-block', [CompletionResultType]::ParameterName, 'Block of the image at which the volume starts')
            [CompletionResult]::new('--max-erase-cycles', '--max-erase-cycles', [CompletionResultType]::ParameterName, 'Rated program/erase cycles of a block')
            [CompletionResult]::new('--layout', '--layout', [CompletionResultType]::ParameterName, 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)')
            [CompletionResult]::new('--chip-file', '--chip-file', [CompletionResultType]::ParameterName, 'The chip file, if not IMAGE.chip.json; "none" for none')
            [CompletionResult]::new('--offset', '--offset', [CompletionResultType]::ParameterName, 'First logical byte')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'Where from; standard input if left out or "-"')
            [CompletionResult]::new('--in', '--in', [CompletionResultType]::ParameterName, 'Where from; standard input if left out or "-"')
            [CompletionResult]::new('--wear-interval', '--wear-interval', [CompletionResultType]::ParameterName, 'Erases between two checks of static wear levelling, if not as the volume says (256 if it does not)')
            [CompletionResult]::new('--wear-threshold', '--wear-threshold', [CompletionResultType]::ParameterName, 'Difference in erase counts at which static wear levelling acts, if not as the volume says (100 if it does not)')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--truncate', '--truncate', [CompletionResultType]::ParameterName, 'Let the volume end where this write ends')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'nandimg;fsck' {
            [CompletionResult]::new('--chip', '--chip', [CompletionResultType]::ParameterName, 'A chip by part number ("help" lists them)')
            [CompletionResult]::new('--page-size', '--page-size', [CompletionResultType]::ParameterName, 'Data bytes a page')
            [CompletionResult]::new('--spare-size', '--spare-size', [CompletionResultType]::ParameterName, 'Spare (out-of-band) bytes a page')
            [CompletionResult]::new('--block-size', '--block-size', [CompletionResultType]::ParameterName, 'Data bytes an erase block, spare not counted')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Erase blocks of the volume')
            [CompletionResult]::new('--first-block', '--first-block', [CompletionResultType]::ParameterName, 'Block of the image at which the volume starts')
            [CompletionResult]::new('--max-erase-cycles', '--max-erase-cycles', [CompletionResultType]::ParameterName, 'Rated program/erase cycles of a block')
            [CompletionResult]::new('--layout', '--layout', [CompletionResultType]::ParameterName, 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)')
            [CompletionResult]::new('--chip-file', '--chip-file', [CompletionResultType]::ParameterName, 'The chip file, if not IMAGE.chip.json; "none" for none')
            [CompletionResult]::new('--undo', '--undo', [CompletionResultType]::ParameterName, 'Save in FILE, which must not exist, what is needed to take the repair back')
            [CompletionResult]::new('--undo-from', '--undo-from', [CompletionResultType]::ParameterName, 'Take back the repair whose undo file this is')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--repair', '--repair', [CompletionResultType]::ParameterName, 'Mend what can be mended without guessing about user data')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'nandimg;wear-report' {
            [CompletionResult]::new('--chip', '--chip', [CompletionResultType]::ParameterName, 'A chip by part number ("help" lists them)')
            [CompletionResult]::new('--page-size', '--page-size', [CompletionResultType]::ParameterName, 'Data bytes a page')
            [CompletionResult]::new('--spare-size', '--spare-size', [CompletionResultType]::ParameterName, 'Spare (out-of-band) bytes a page')
            [CompletionResult]::new('--block-size', '--block-size', [CompletionResultType]::ParameterName, 'Data bytes an erase block, spare not counted')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Erase blocks of the volume')
            [CompletionResult]::new('--first-block', '--first-block', [CompletionResultType]::ParameterName, 'Block of the image at which the volume starts')
            [CompletionResult]::new('--max-erase-cycles', '--max-erase-cycles', [CompletionResultType]::ParameterName, 'Rated program/erase cycles of a block')
            [CompletionResult]::new('--layout', '--layout', [CompletionResultType]::ParameterName, 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)')
            [CompletionResult]::new('--chip-file', '--chip-file', [CompletionResultType]::ParameterName, 'The chip file, if not IMAGE.chip.json; "none" for none')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'nandimg;inject-bad' {
            [CompletionResult]::new('--chip', '--chip', [CompletionResultType]::ParameterName, 'A chip by part number ("help" lists them)')
            [CompletionResult]::new('--page-size', '--page-size', [CompletionResultType]::ParameterName, 'Data bytes a page')
            [CompletionResult]::new('--spare-size', '--spare-size', [CompletionResultType]::ParameterName, 'Spare (out-of-band) bytes a page')
            [CompletionResult]::new('--block-size', '--block-size', [CompletionResultType]::ParameterName, 'Data bytes an erase block, spare not counted')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Erase blocks of the volume')
            [CompletionResult]::new('--first-block', '--first-block', [CompletionResultType]::ParameterName, 'Block of the image at which the volume starts')
            [CompletionResult]::new('--max-erase-cycles', '--max-erase-cycles', [CompletionResultType]::ParameterName, 'Rated program/erase cycles of a block')
            [CompletionResult]::new('--layout', '--layout', [CompletionResultType]::ParameterName, 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)')
            [CompletionResult]::new('--chip-file', '--chip-file', [CompletionResultType]::ParameterName, 'The chip file, if not IMAGE.chip.json; "none" for none')
            [CompletionResult]::new('--block', '--block', [CompletionResultType]::ParameterName, 'These blocks (3,77,100-103)')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'This many of the good blocks, chosen by the seed')
            [CompletionResult]::new('--seed', '--seed', [CompletionResultType]::ParameterName, 'The seed of a choice')
            [CompletionResult]::new('--when', '--when', [CompletionResultType]::ParameterName, 'When they become bad: at once, or when they are next erased, programmed or read')
            [CompletionResult]::new('--after', '--after', [CompletionResultType]::ParameterName, 'How many erases or programs still succeed')
            [CompletionResult]::new('--flip', '--flip', [CompletionResultType]::ParameterName, 'Flip this stored bit of a page (bit = byte x 8 + bit, least significant first, spare bytes after the data); one that is named twice, or also chosen by --flip-bits, flips once')
            [CompletionResult]::new('--flip-bits', '--flip-bits', [CompletionResultType]::ParameterName, 'Flip this many stored bits, of the blocks given or of the whole volume; t, t-1, t+1 count beside what the ECC corrects')
            [CompletionResult]::new('--each', '--each', [CompletionResultType]::ParameterName, 'Flip so many bits in each of these')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--list', '--list', [CompletionResultType]::ParameterName, 'Show the latent faults')
            [CompletionResult]::new('--clear-faults', '--clear-faults', [CompletionResultType]::ParameterName, 'Remove all latent faults')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'nandimg;info' {
            [CompletionResult]::new('--chip', '--chip', [CompletionResultType]::ParameterName, 'A chip by part number ("help" lists them)')
            [CompletionResult]::new('--page-size', '--page-size', [CompletionResultType]::ParameterName, 'Data bytes a page')
            [CompletionResult]::new('--spare-size', '--spare-size', [CompletionResultType]::ParameterName, 'Spare (out-of-band) bytes a page')
            [CompletionResult]::new('--block-size', '--block-size', [CompletionResultType]::ParameterName, 'Data bytes an erase block, spare not counted')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Erase blocks of the volume')
            [CompletionResult]::new('--first-block', '--first-block', [CompletionResultType]::ParameterName, 'Block of the image at which the volume starts')
            [CompletionResult]::new('--max-erase-cycles', '--max-erase-cycles', [CompletionResultType]::ParameterName, 'Rated program/erase cycles of a block')
            [CompletionResult]::new('--layout', '--layout', [CompletionResultType]::ParameterName, 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)')
            [CompletionResult]::new('--chip-file', '--chip-file', [CompletionResultType]::ParameterName, 'The chip file, if not IMAGE.chip.json; "none" for none')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'nandimg;convert' {
            [CompletionResult]::new('--chip', '--chip', [CompletionResultType]::ParameterName, 'A chip by part number ("help" lists them)')
            [CompletionResult]::new('--page-size', '--page-size', [CompletionResultType]::ParameterName, 'Data bytes a page')
            [CompletionResult]::new('--spare-size', '--spare-size', [CompletionResultType]::ParameterName, 'Spare (out-of-band) bytes a page')
            [CompletionResult]::new('--block-size', '--block-size', [CompletionResultType]::ParameterName, 'Data bytes an erase block, spare not counted')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Erase blocks of the volume')
            [CompletionResult]::new('--first-block', '--first-block', [CompletionResultType]::ParameterName, 'Block of the image at which the volume starts')
            [CompletionResult]::new('--max-erase-cycles', '--max-erase-cycles', [CompletionResultType]::ParameterName, 'Rated program/erase cycles of a block')
            [CompletionResult]::new('--layout', '--layout', [CompletionResultType]::ParameterName, 'How raw pages are laid out, with their ECC: a name or a layout file ("help" lists the names)')
            [CompletionResult]::new('--chip-file', '--chip-file', [CompletionResultType]::ParameterName, 'The chip file, if not IMAGE.chip.json; "none" for none')
            [CompletionResult]::new('--to-layout', '--to-layout', [CompletionResultType]::ParameterName, 'How the pages of DST are to be laid out; as those of SRC if left out')
            [CompletionResult]::new('--to-spare-size', '--to-spare-size', [CompletionResultType]::ParameterName, 'Spare bytes a page of DST; if left out, as in SRC, or as the chip has it')
            [CompletionResult]::new('--bb', '--bb', [CompletionResultType]::ParameterName, 'What to make of blocks that are marked bad [default: dumpbad]')
            [CompletionResult]::new('--mapping', '--mapping', [CompletionResultType]::ParameterName, 'Which flash translation layer; with --logical [default: that of SRC]')
            [CompletionResult]::new('--spare-percent', '--spare-percent', [CompletionResultType]::ParameterName, 'Room for what the volume itself needs, in percent of the good blocks; with --logical and page mapping [default: 7]')
            [CompletionResult]::new('--bad-blocks', '--bad-blocks', [CompletionResultType]::ParameterName, 'Blocks that are bad on the chip that DST is for (3,77,100-103). Without --logical: with skipbad SRC is laid around them, else they are bad in SRC, too')
            [CompletionResult]::new('--bad-map', '--bad-map', [CompletionResultType]::ParameterName, 'The same, from a file: JSON, what nanddump or mtdinfo printed, or an image of the chip, whose Linux bad-block table counts, or its marks. With skipbad an image needs --blocks or --chip, by which its size is known')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--logical', '--logical', [CompletionResultType]::ParameterName, 'Build a fresh volume with the same content')
            [CompletionResult]::new('--skip-unreadable', '--skip-unreadable', [CompletionResultType]::ParameterName, 'Go on where a page cannot be read: it keeps what is stored, with --logical it is zeros')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Replace DST if it exists')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'nandimg;completions' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print exactly one JSON object on standard output')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no status and no progress, only results, warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: where each part of the geometry comes from')
            [CompletionResult]::new('--no-progress', '--no-progress', [CompletionResultType]::ParameterName, 'Show no progress bar')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'nandimg;help' {
            [CompletionResult]::new('format', 'format', [CompletionResultType]::ParameterValue, 'Make a new image, or put a fresh volume on an existing one')
            [CompletionResult]::new('mount-check', 'mount-check', [CompletionResultType]::ParameterValue, 'Say whether and how an image would mount')
            [CompletionResult]::new('read', 'read', [CompletionResultType]::ParameterValue, 'Copy logical bytes out of an image')
            [CompletionResult]::new('write', 'write', [CompletionResultType]::ParameterValue, 'Copy bytes into an image')
            [CompletionResult]::new('fsck', 'fsck', [CompletionResultType]::ParameterValue, 'Check everything; with --repair, mend what can be mended without guessing')
            [CompletionResult]::new('wear-report', 'wear-report', [CompletionResultType]::ParameterValue, 'Show erase counts, bad blocks and remaining life')
            [CompletionResult]::new('inject-bad', 'inject-bad', [CompletionResultType]::ParameterValue, 'Make blocks bad, now or later, or flip stored bits')
            [CompletionResult]::new('info', 'info', [CompletionResultType]::ParameterValue, 'Say what an image is: content, geometry, layout and ECC, with the evidence')
            [CompletionResult]::new('convert', 'convert', [CompletionResultType]::ParameterValue, 'Make an image of another layout, or for another chip')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a completion script, or the manual page')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'nandimg;help;format' {
            break
        }
        'nandimg;help;mount-check' {
            break
        }
        'nandimg;help;read' {
            break
        }
        'nandimg;help;write' {
            break
        }
        'nandimg;help;fsck' {
            break
        }
        'nandimg;help;wear-report' {
            break
        }
        'nandimg;help;inject-bad' {
            break
        }
        'nandimg;help;info' {
            break
        }
        'nandimg;help;convert' {
            break
        }
        'nandimg;help;completions' {
            break
        }
        'nandimg;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
